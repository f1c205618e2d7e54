/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Leases as a program that keeps its connection has them, against a manager in
 * another process (cfsd), and what the same bytes cost without any of it.
 *
 *   lease-bench grant POOL VOLUME ROUNDS COUNT
 *	one line a round: COUNT times a message to another process and one
 *	back, over a Unix socket; COUNT times a lease and its release
 *   lease-bench crowd POOL CLIENTS LEASES SECONDS PID
 *	so many clients, each with a connection and so many leases, which they
 *	renew as often as the protocol says; the processor time that the
 *	process PID takes meanwhile
 *
 * Lines of JSON on standard output.
 */
#include "measure.h"

#include "base/clock.h"
#include "lease/conn_lease.h"
#include "session/lease.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* About as long as a request for a lease and its answer. */
#define MESSAGE_BYTES 96u
#define WARM_UP       2000u

static struct cfs_err err;

static int die(const char *what)
{
	fprintf(stderr, "lease-bench: %s: %s\n", what,
		err.msg[0] ? err.msg : strerror(errno));
	return 1;
}

/* ---- a bare round trip --------------------------------------------------- */

static void echo(int fd)
{
	char msg[MESSAGE_BYTES];
	ssize_t n;

	while ((n = recv(fd, msg, sizeof(msg), 0)) > 0)
		if (send(fd, msg, (size_t)n, MSG_NOSIGNAL) != n)
			break;
	_exit(0);
}

static int echo_start(pid_t *ret_pid)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	*ret_pid = fork();
	if (*ret_pid == 0) {
		close(fds[0]);
		echo(fds[1]);
	}
	close(fds[1]);
	return *ret_pid < 0 ? -1 : fds[0];
}

static bool round_trips(int fd, uint64_t count)
{
	char msg[MESSAGE_BYTES] = { 1 };

	for (uint64_t i = 0; i < count; i++)
		if (send(fd, msg, sizeof(msg), MSG_NOSIGNAL) < 0 ||
		    recv(fd, msg, sizeof(msg), 0) != (ssize_t)sizeof(msg))
			return false;
	return true;
}

/* ---- grants -------------------------------------------------------------- */

struct holder {
	struct cfs_leaser *leaser;
	struct cfs_lease_request request;
};

static int find(const char *pool, struct cfs_manager_info *ret)
{
	const struct cfs_session_options opt = { .wait_seconds = 10 };
	int r = cfs_manager_find(pool, &opt, ret, &err);

	if (r == 0 && !ret->address[0])
		r = cfs_err_set(&err, -EBUSY, "nobody manages it");
	return r;
}

static int join(const struct cfs_manager_info *info, struct holder *ret)
{
	const struct cfs_session_options opt = { .wait_seconds = 10 };

	return cfs_manager_join(info, "bench", 0, NULL, &opt, 10000,
				&ret->leaser, &err);
}

static int take_and_give(struct holder *h, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		struct cfs_held *held;
		int r = cfs_leaser_acquire(h->leaser, &h->request, NULL, &held,
					   &err);

		if (r < 0)
			return r;
		cfs_leaser_release(held);
	}
	return 0;
}

static int open_volume(const char *pool, const char *volume, struct holder *ret)
{
	const struct cfs_session_options opt = { .wait_seconds = 10 };
	const struct cfs_lease_place place = { .volume = volume };
	struct cfs_session *s = NULL;
	struct cfs_manager_info info;
	int r = cfs_session_open(pool, &opt, &s, &err);

	if (r == 0)
		r = cfs_session_lease_resource(s, &place,
					       &ret->request.resource, &err);
	cfs_session_closep(&s);
	if (r == 0)
		r = find(pool, &info);
	if (r == 0)
		r = join(&info, ret);
	ret->request.mode = CFS_LOCK_X;
	return r;
}

static int verb_grant(char **args)
{
	uint64_t rounds = parse_count(args[2]), count = parse_count(args[3]);
	struct holder h = { .leaser = NULL };
	pid_t pid;
	int fd = echo_start(&pid);

	if (fd < 0)
		return die("socket pair");
	if (open_volume(args[0], args[1], &h) < 0 ||
	    take_and_give(&h, WARM_UP) < 0)
		return die(args[0]);
	if (!round_trips(fd, WARM_UP))
		return die("round trip");
	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t t0 = now_ns(), t1, t2;

		if (!round_trips(fd, count))
			return die("round trip");
		t1 = now_ns();
		if (take_and_give(&h, count) < 0)
			return die(args[0]);
		t2 = now_ns();
		printf("{\"raw_us\": %.3f, \"grant_us\": %.3f}\n",
		       (double)(t1 - t0) / 1e3 / (double)count,
		       (double)(t2 - t1) / 1e3 / (double)count);
	}
	cfs_leaser_free(h.leaser, true);
	close(fd);
	waitpid(pid, NULL, 0);
	return 0;
}

/* ---- a crowd ------------------------------------------------------------- */

/* Ranges of a megabyte of one file each, so that none meets another. */
static int take_many(struct holder *h, uint64_t client, uint64_t leases)
{
	for (uint64_t i = 0; i < leases; i++) {
		struct cfs_lease_request req = { .mode = CFS_LOCK_X };
		struct cfs_held *held;
		int r;

		req.resource.container = 1000;
		req.resource.volume = 1;
		req.resource.ino = client + 1;
		req.resource.offset_bytes = i << 20;
		req.resource.length_bytes = 1 << 20;
		r = cfs_leaser_acquire(h->leaser, &req, NULL, &held, &err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int verb_crowd(char **args)
{
	uint64_t clients = parse_count(args[1]), leases = parse_count(args[2]);
	uint64_t seconds = parse_count(args[3]);
	struct holder *all = clients ? calloc(clients, sizeof(*all)) : NULL;
	struct rlimit files = { .rlim_cur = clients * 6 + 100 };
	struct cfs_manager_info info;
	double before, after;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (!all || find(args[0], &info) < 0)
		return die(args[0]);
	for (uint64_t i = 0; i < clients; i++)
		if (join(&info, &all[i]) < 0 ||
		    take_many(&all[i], i, leases) < 0)
			return die(args[0]);
	before = cpu_of(args[4]);
	sleep((unsigned int)seconds);
	after = cpu_of(args[4]);
	if (before < 0 || after < 0)
		return die(args[4]);
	printf("{\"clients\": %llu, \"leases\": %llu, \"cpu_percent\": %.3f}\n",
	       (unsigned long long)clients,
	       (unsigned long long)clients * leases,
	       (after - before) / (double)seconds * 100);
	return 0; /* the manager sees that all of them are gone */
}

static const struct {
	const char *name;
	int arg_count;
	int (*run)(char **args);
} verbs[] = {
	{ "grant", 4, verb_grant },
	{ "crowd", 5, verb_crowd },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (argc == verbs[i].arg_count + 2 &&
		    strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(argv + 2);
	}
	fprintf(stderr,
		"lease-bench: wrong usage: see the head of its source\n");
	return 2;
}
