/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What mount(8) and umount(8) call for file systems of type fuse.cfs:
 *
 *	mount.fuse.cfs SPEC DIR [-sfnv] [-o OPTIONS] [-t TYPE]
 *	umount.fuse.cfs DIR [-flnrv] [-t TYPE]
 *
 * The kernel tells a program of a mount's end when it is gone already, so
 * umount(8) alone returns a moment before what was written last is durable.
 * The helper waits for the process to end, or to say that it only stays for
 * others (linger.c), and then it is.
 */
#include "cfsmount/cfsmount.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Of mount(8) and umount(8). */
#define STATUS_USAGE  1
#define STATUS_FAILED 32
#define LOOK_MS       50

static bool is_flags(const char *word, const char *letters)
{
	return word[0] == '-' && word[1] && word[1] != '-' &&
	       strspn(word + 1, letters) == strlen(word + 1);
}

/* Those that are not ours go. */
int mnt_mount_helper(const struct cfs_tool *tool, int argc, char **argv)
{
	char **words = calloc((size_t)argc + 1, sizeof(*words));
	bool is_fake = false;
	int n = 0, status;

	if (!words)
		return STATUS_FAILED;
	for (int i = 0; i < argc; i++) {
		if (i > 0 &&
		    (strcmp(argv[i], "-t") == 0 || strcmp(argv[i], "-N") == 0))
			i++;
		else if (i > 0 && is_flags(argv[i], "sfnv"))
			is_fake |= strchr(argv[i], 'f') != NULL;
		else
			words[n++] = argv[i];
	}
	status = is_fake ? 0 : cfs_tool_main(tool, n, words);
	free(words);
	return status;
}

/* The process behind a mount; 0: it cannot be known. */
static long find_process(const char *dir)
{
	char text[32];
	ssize_t n = getxattr(dir, MNT_PID_NAME, text, sizeof(text) - 1);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return strtol(text, NULL, 10);
}

/* Does it only hold the pool for others? */
static bool lingers(long pid)
{
	char path[64], name[32] = "";
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
	f = fopen(path, "re");
	if (!f)
		return true;
	if (!fgets(name, sizeof(name), f))
		name[0] = '\0';
	(void)fclose(f);
	name[strcspn(name, "\n")] = '\0';
	return strcmp(name, MNT_LINGERS_NAME) == 0;
}

static int umount_it(const char *dir, int flags)
{
	const long pid = flags & MNT_DETACH ? 0 : find_process(dir);
	const int fd = pid ? (int)syscall(SYS_pidfd_open, (pid_t)pid, 0) : -1;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (umount2(dir, flags) < 0) {
		fprintf(stderr, "umount.fuse.cfs: %s: %s\n", dir,
			strerror(errno));
		if (fd >= 0)
			close(fd);
		return STATUS_FAILED;
	}
	while (fd >= 0 && poll(&p, 1, LOOK_MS) <= 0 && !lingers(pid))
		;
	if (fd >= 0)
		close(fd);
	return 0;
}

int mnt_umount_helper(int argc, char **argv)
{
	const char *dir = NULL;
	int flags = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-t") == 0 || strcmp(argv[i], "-N") == 0) {
			i++;
		} else if (is_flags(argv[i], "flnrv")) {
			flags |= strchr(argv[i], 'f') ? MNT_FORCE : 0;
			flags |= strchr(argv[i], 'l') ? MNT_DETACH : 0;
		} else if (!dir && argv[i][0] != '-') {
			dir = argv[i];
		} else {
			dir = NULL;
			break;
		}
	}
	if (!dir) {
		fprintf(stderr, "usage: umount.fuse.cfs DIR [-flnrv]\n");
		return STATUS_USAGE;
	}
	return umount_it(dir, flags);
}
