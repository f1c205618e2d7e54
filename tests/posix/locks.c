/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Locks of programs: fcntl(2) on bytes, flock(2) on files. */
#include "posix.h"

#include <signal.h>
#include <sys/file.h>

static int fcntl_lock(int fd, int command, short type, off_t start, off_t len)
{
	struct flock l = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = start,
		.l_len = len,
	};

	return fcntl(fd, command, &l);
}

static int set(int fd, short type, off_t start, off_t len)
{
	return fcntl_lock(fd, F_SETLK, type, start, len);
}

/* In another process, on a descriptor of its own: 0 or an errno. */
static int other(const char *path, short type, off_t start, off_t len)
{
	int status, fd;
	pid_t pid = fork();

	if (pid == 0) {
		fd = open(path, O_RDWR);
		_exit(fd < 0 ? 255 : set(fd, type, start, len) < 0 ? errno : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

static int open_new(const char *path)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0666);

	if (fd < 0)
		abort();
	return fd;
}

static void test_ranges(void)
{
	int fd = open_new("f");

	OK(set(fd, F_WRLCK, 100, 100));
	IS(other("f", F_WRLCK, 0, 100) == 0);
	IS(other("f", F_WRLCK, 200, 0) == 0);
	IS(other("f", F_WRLCK, 150, 1) == EAGAIN);
	IS(other("f", F_RDLCK, 199, 1) == EAGAIN);
	IS(other("f", F_RDLCK, 0, 0) == EAGAIN);
	OK(set(fd, F_UNLCK, 140, 20)); /* a hole in it */
	IS(other("f", F_WRLCK, 140, 20) == 0);
	IS(other("f", F_WRLCK, 139, 1) == EAGAIN);
	IS(other("f", F_WRLCK, 160, 1) == EAGAIN);
	OK(set(fd, F_RDLCK, 120, 10)); /* weaker in the middle */
	IS(other("f", F_RDLCK, 120, 10) == 0);
	IS(other("f", F_WRLCK, 120, 10) == EAGAIN);
	IS(other("f", F_RDLCK, 119, 1) == EAGAIN);
	OK(set(fd, F_WRLCK, 0, 0)); /* all of it */
	IS(other("f", F_RDLCK, (off_t)1 << 40, 1) == EAGAIN);
	OK(set(fd, F_UNLCK, 0, 0));
	IS(other("f", F_WRLCK, 0, 0) == 0);
	close(fd);
}

static void test_closing(void)
{
	int fd = open_new("f"), second;

	OK(set(fd, F_WRLCK, 0, 0));
	OK(second = open("f", O_RDONLY));
	IS(other("f", F_WRLCK, 0, 1) == EAGAIN);
	close(second); /* any descriptor of the file will do */
	IS(other("f", F_WRLCK, 0, 1) == 0);
	OK(set(fd, F_WRLCK, 0, 0));
	close(fd);
	IS(other("f", F_WRLCK, 0, 1) == 0);
}

/* Those of an open file are its own, and go with it. */
static void test_open_file(void)
{
	struct flock lock = { .l_type = F_WRLCK, .l_start = 10, .l_len = 20 };
	int fd = open_new("ofd"), fd2, fd3;

	OK(fd2 = open("ofd", O_RDWR));
	OK(fcntl(fd, F_OFD_SETLK, &lock));
	FAILS(EAGAIN, fcntl(fd2, F_OFD_SETLK, &lock));
	OK(fd3 = dup(fd));
	close(fd);
	FAILS(EAGAIN, fcntl(fd2, F_OFD_SETLK, &lock));
	lock.l_start = 15;
	lock.l_len = 5;
	lock.l_type = F_UNLCK;
	OK(fcntl(fd3, F_OFD_SETLK, &lock));
	IS(other("ofd", F_WRLCK, 15, 5) == 0);
	IS(other("ofd", F_WRLCK, 14, 1) == EAGAIN);
	close(fd3);
	/* FUSE says so a moment later. */
	for (int i = 0; i < 500 && other("ofd", F_WRLCK, 10, 20); i++)
		usleep(10000);
	IS(other("ofd", F_WRLCK, 0, 0) == 0);
	close(fd2);
}

static void test_not_inherited(void)
{
	int fd = open_new("f"), status;
	pid_t pid;

	OK(set(fd, F_WRLCK, 0, 10));
	pid = fork();
	if (pid == 0)
		_exit(set(fd, F_WRLCK, 0, 10) < 0 ? errno : 0);
	IS(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == EAGAIN);
	close(fd);
}

static void test_get(void)
{
	struct flock l = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_len = 0,
	};
	int fd = open_new("f"), pipes[2], status;
	pid_t pid;
	char c;

	if (pipe(pipes) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		int own = open("f", O_RDWR);

		(void)!write(pipes[1], set(own, F_RDLCK, 10, 5) < 0 ? "-" : "+",
			     1);
		pause();
		_exit(0);
	}
	IS(read(pipes[0], &c, 1) == 1 && c == '+');
	OK(fcntl(fd, F_GETLK, &l));
	IS(l.l_type == F_RDLCK && l.l_start == 10 && l.l_len == 5);
	IS(l.l_pid == pid);
	l = (struct flock){ .l_type = F_RDLCK, .l_whence = SEEK_SET };
	OK(fcntl(fd, F_GETLK, &l));
	IS(l.l_type == F_UNLCK);
	kill(pid, SIGKILL);
	(void)waitpid(pid, &status, 0);
	IS(set(fd, F_WRLCK, 0, 0) == 0 || errno == EAGAIN);
	tick();
	OK(set(fd, F_WRLCK, 0, 0));
	close(fd);
}

static void test_waiting(void)
{
	int fd = open_new("f"), status;
	pid_t pid;

	OK(set(fd, F_WRLCK, 0, 10));
	pid = fork();
	if (pid == 0) {
		int own = open("f", O_RDWR);

		_exit(fcntl_lock(own, F_SETLKW, F_WRLCK, 5, 10) < 0);
	}
	tick();
	IS(waitpid(pid, &status, WNOHANG) == 0);
	OK(set(fd, F_UNLCK, 0, 10));
	IS(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 0);
	close(fd);
}

static void on_alarm(int signal)
{
	(void)signal;
}

static void test_interrupted(void)
{
	struct sigaction act = { .sa_handler = on_alarm };
	int fd = open_new("f"), status;
	pid_t pid;

	OK(set(fd, F_WRLCK, 0, 10));
	pid = fork();
	if (pid == 0) {
		int own = open("f", O_RDWR);

		sigaction(SIGALRM, &act, NULL);
		alarm(1);
		_exit(fcntl_lock(own, F_SETLKW, F_WRLCK, 0, 10) < 0 ? errno
								    : 0);
	}
	IS(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == EINTR);
	OK(set(fd, F_UNLCK, 0, 10));
	IS(other("f", F_WRLCK, 0, 10) == 0); /* it does not have it later */
	close(fd);
}

static void test_circle(void)
{
	int fd = open_new("f"), pipes[2], status;
	pid_t pid;
	char c;

	if (pipe(pipes) < 0)
		abort();
	OK(set(fd, F_WRLCK, 0, 1));
	pid = fork();
	if (pid == 0) {
		int own = open("f", O_RDWR);

		(void)!write(pipes[1], set(own, F_WRLCK, 1, 1) ? "-" : "+", 1);
		alarm(5);
		_exit(fcntl_lock(own, F_SETLKW, F_WRLCK, 0, 1) < 0 ? errno : 0);
	}
	IS(read(pipes[0], &c, 1) == 1 && c == '+');
	for (int i = 0; i < 10; i++)
		tick();
	FAILS(EDEADLK, fcntl_lock(fd, F_SETLKW, F_WRLCK, 1, 1));
	OK(set(fd, F_UNLCK, 0, 1));
	IS(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 0);
	close(fd);
}

static void test_flock(void)
{
	int a = open_new("f"), b, status;
	pid_t pid;

	OK(b = open("f", O_RDWR));
	OK(flock(a, LOCK_EX));
	FAILS(EWOULDBLOCK, flock(b, LOCK_EX | LOCK_NB));
	FAILS(EWOULDBLOCK, flock(b, LOCK_SH | LOCK_NB));
	OK(set(b, F_WRLCK, 0, 0)); /* another kind of lock */
	OK(flock(a, LOCK_SH));
	OK(flock(b, LOCK_SH | LOCK_NB));
	FAILS(EWOULDBLOCK, flock(a, LOCK_EX | LOCK_NB));
	OK(flock(b, LOCK_UN));
	OK(flock(a, LOCK_EX | LOCK_NB));
	pid = fork(); /* shared with the child */
	if (pid == 0) {
		close(a);
		_exit(0);
	}
	IS(waitpid(pid, &status, 0) == pid);
	FAILS(EWOULDBLOCK, flock(b, LOCK_EX | LOCK_NB));
	close(a);
	OK(flock(b, LOCK_EX | LOCK_NB));
	close(b);
}

static void test_modes(void)
{
	int fd;

	OK(make("f", 0644));
	OK(fd = open("f", O_RDONLY));
	FAILS(EBADF, set(fd, F_WRLCK, 0, 1));
	OK(set(fd, F_RDLCK, 0, 1));
	close(fd);
	OK(fd = open("f", O_WRONLY));
	FAILS(EBADF, set(fd, F_RDLCK, 0, 1));
	FAILS(EINVAL, set(fd, F_WRLCK, -1, 1));
	close(fd);
}

static const struct posix_test tests[] = {
	{ "ranges are cut and joined", test_ranges, false },
	{ "a close lets go", test_closing, false },
	{ "those of an open file go with it", test_open_file, false },
	{ "a child does not inherit them", test_not_inherited, false },
	{ "F_GETLK names who has it", test_get, false },
	{ "F_SETLKW waits", test_waiting, false },
	{ "waiting is interrupted", test_interrupted, false },
	{ "a circle of waiting is refused", test_circle, false },
	{ "flock", test_flock, false },
	{ "the descriptor's mode counts", test_modes, false },
};

int main(int argc, char **argv)
{
	return run_all("locks", tests, COUNT_OF(tests), argc, argv);
}
