// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Who uses a file or block device: mounts, swap, loop devices over it, holders
 * of the kernel (device mapper, md), locks of other processes, and last an
 * exclusive open, which the kernel refuses also for what we do not know.
 */
#include "pool/devset_priv.h"
#include "pool/probe_priv.h"

#include "base/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

struct subject {
	const char *path;
	struct stat st;
	char *ret;
	size_t room_bytes;
};

static bool say(struct subject *s, const char *fmt, ...) CFS_PRINTF(2, 3);

static bool say(struct subject *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->ret, s->room_bytes, fmt, ap);
	va_end(ap);
	return true;
}

/* Blanks and backslashes are \ooo in the kernel's tables. */
static void decode_octal(char *text)
{
	char *to = text;

	for (; *text; text++) {
		if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' &&
		    text[2] >= '0' && text[2] <= '7' && text[3] >= '0' &&
		    text[3] <= '7') {
			*to++ = (char)((text[1] - '0') * 64 +
				       (text[2] - '0') * 8 + (text[3] - '0'));
			text += 3;
		} else {
			*to++ = *text;
		}
	}
	*to = '\0';
}

/* Does the host's @path lead to the subject? */
static bool leads_here(const struct subject *s, const char *path)
{
	struct stat st;

	if (path[0] != '/' || stat(path, &st) < 0)
		return false;
	if (S_ISBLK(s->st.st_mode))
		return S_ISBLK(st.st_mode) && st.st_rdev == s->st.st_rdev;
	return S_ISREG(st.st_mode) && st.st_dev == s->st.st_dev &&
	       st.st_ino == s->st.st_ino;
}

/*
 * id parent major:minor root mountpoint options [more ...] - type source ...
 */
static bool mount_matches(const struct subject *s, char *line,
			  char **ret_mountpoint)
{
	char *field[5], *rest = line, *source;
	unsigned int major_number, minor_number, i;

	for (i = 0; i < 5; i++) {
		field[i] = strsep(&rest, " ");
		if (!rest)
			return false;
	}
	source = strstr(rest, " - ");
	if (!source)
		return false;
	source += 3;
	strsep(&source, " ");
	source = source ? strsep(&source, " ") : NULL;
	*ret_mountpoint = field[4];
	decode_octal(field[4]);
	if (S_ISBLK(s->st.st_mode) &&
	    sscanf(field[2], "%u:%u", &major_number, &minor_number) == 2 &&
	    makedev(major_number, minor_number) == s->st.st_rdev)
		return true;
	/* btrfs, for one, has a number of its own. */
	if (!source)
		return false;
	decode_octal(source);
	return S_ISBLK(s->st.st_mode) && leads_here(s, source);
}

static bool is_mounted(struct subject *s)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	CFS_CLEANUP(cfs_freep) char *line = NULL;
	size_t room = 0;
	char *mountpoint;
	bool is_found = false;

	if (!f)
		return false;
	while (!is_found && getline(&line, &room, f) > 0)
		if (mount_matches(s, line, &mountpoint))
			is_found = say(s, "mounted on %s", mountpoint);
	fclose(f);
	return is_found;
}

static bool is_swap(struct subject *s)
{
	FILE *f = fopen("/proc/swaps", "re");
	CFS_CLEANUP(cfs_freep) char *line = NULL;
	size_t room = 0;
	bool is_found = false;

	if (!f)
		return false;
	while (!is_found && getline(&line, &room, f) > 0) {
		line[strcspn(line, " \t\n")] = '\0';
		decode_octal(line);
		if (leads_here(s, line))
			is_found = say(s, "swap");
	}
	fclose(f);
	return is_found;
}

/* The first line of a small file below /sys. */
static bool read_line(const char *path, char *ret, size_t room_bytes)
{
	FILE *f = fopen(path, "re");
	bool is_read;

	if (!f)
		return false;
	is_read = fgets(ret, (int)room_bytes, f);
	fclose(f);
	if (is_read)
		ret[strcspn(ret, "\n")] = '\0';
	return is_read;
}

static bool is_under_loop(struct subject *s)
{
	DIR *dir = opendir("/sys/block");
	char path[PATH_MAX], backing[PATH_MAX];
	struct dirent *entry;
	bool is_found = false;

	if (!dir)
		return false;
	while (!is_found && (entry = readdir(dir)) != NULL) {
		if (strncmp(entry->d_name, "loop", 4) != 0)
			continue;
		snprintf(path, sizeof(path), "/sys/block/%s/loop/backing_file",
			 entry->d_name);
		if (read_line(path, backing, sizeof(backing)) &&
		    leads_here(s, backing))
			is_found = say(s, "attached as /dev/%s", entry->d_name);
	}
	closedir(dir);
	return is_found;
}

/* Device mapper, md and their like. */
static bool has_holders(struct subject *s)
{
	char path[64];
	struct dirent *entry;
	bool is_found = false;
	DIR *dir;

	if (!S_ISBLK(s->st.st_mode))
		return false;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders",
		 major(s->st.st_rdev), minor(s->st.st_rdev));
	dir = opendir(path);
	if (!dir)
		return false;
	while (!is_found && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			is_found = say(s, "part of /dev/%s", entry->d_name);
	closedir(dir);
	return is_found;
}

#define DYING_NS      (100 * CFS_NS_PER_MS)
#define DYING_POLL_NS (5 * CFS_NS_PER_MS)

/* The pool's own words for its holder, where the record names one. */
static bool say_holder(struct subject *s)
{
	CFS_CLEANUP(cfs_dev_closep) struct cfs_dev *dev = NULL;
	char text[CFS_HOLDER_TEXT_BYTES];
	struct cfs_identity self;
	struct cfs_label label;
	struct cfs_seat seat;
	uint64_t seq;

	if (cfs_dev_open(s->path, CFS_DEV_RDONLY, &dev, NULL) < 0 ||
	    cfs_label_read(dev, &label, NULL, NULL) < 0)
		return say(s, "locked by another process");
	if (cfs_seat_read_one(dev, &label, &seat, &seq, NULL) < 0)
		return say(s, "pool \"%s\" in use", label.name);
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	cfs_holder_describe(&seat, &self, text);
	return say(s, "pool \"%s\" %s", label.name, text);
}

/*
 * Only asks: taking the lock, even for a moment, could be in the way of
 * somebody who opens the pool.  A process that was killed has it until its
 * I/O has ended, so one looks for a moment.
 */
static bool is_locked(struct subject *s)
{
	CFS_CLEANUP(cfs_fdclosep)
	int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct cfs_clock *clock = cfs_clock_system();
	uint64_t end_ns = cfs_clock_elapsed_ns(clock) + DYING_NS;

	for (;;) {
		struct flock lock = {
			.l_type = F_WRLCK,
			.l_whence = SEEK_SET,
		};
		uint64_t now_ns = cfs_clock_elapsed_ns(clock);

		if (fd < 0 || fcntl(fd, F_OFD_GETLK, &lock) < 0 ||
		    lock.l_type == F_UNLCK)
			return false;
		if (now_ns >= end_ns)
			return say_holder(s);
		cfs_clock_sleep_until(clock, now_ns + DYING_POLL_NS);
	}
}

/* Another host may hold a pool that no lock here tells of. */
static bool is_held_elsewhere(struct subject *s)
{
	CFS_CLEANUP(cfs_dev_closep) struct cfs_dev *dev = NULL;
	struct cfs_identity self;
	struct cfs_label label;
	struct cfs_seat seat;
	uint64_t seq;

	if (cfs_dev_open(s->path, CFS_DEV_RDONLY, &dev, NULL) < 0 ||
	    cfs_label_read(dev, &label, NULL, NULL) < 0 ||
	    cfs_seat_read_one(dev, &label, &seat, &seq, NULL) < 0 ||
	    seat.state != CFS_SEAT_OPEN)
		return false;
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	if (memcmp(seat.boot_id, self.boot_id, sizeof(seat.boot_id)) == 0) {
		/* By a path that has its own locks (a loop device). */
		if (!cfs_identity_host.is_alive(cfs_identity_host.arg, seat.pid,
						seat.process_start) ||
		    seat.pid == self.pid)
			return false;
	} else if (strcmp(seat.host, self.host) == 0) {
		return false; /* this host before it was restarted */
	}
	return say_holder(s);
}

static bool is_open_exclusively(struct subject *s)
{
	CFS_CLEANUP(cfs_fdclosep) int fd = -1;

	if (!S_ISBLK(s->st.st_mode))
		return false;
	fd = open(s->path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0 || errno != EBUSY)
		return false;
	return say(s, "open elsewhere");
}

bool cfs_probe_use(const char *path, char *ret_used_as, size_t room_bytes)
{
	struct subject s = {
		.path = path,
		.ret = ret_used_as,
		.room_bytes = room_bytes,
	};

	ret_used_as[0] = '\0';
	if (stat(path, &s.st) < 0)
		return false;
	return is_mounted(&s) || is_swap(&s) || is_under_loop(&s) ||
	       has_holders(&s) || is_locked(&s) || is_held_elsewhere(&s) ||
	       is_open_exclusively(&s);
}
