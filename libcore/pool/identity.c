// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Who this process is, and whether another one still lives.  A number of a
 * process alone says nothing, since numbers are used again: the moment it was
 * started goes with it, and the boot id, since that counts from the boot.
 */
#include "pool/holder.h"

#include "base/uuid.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A small file of /proc as text.  -1: not there. */
static int read_text(const char *path, char *ret, size_t room_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -1;
	do {
		n = read(fd, ret, room_bytes - 1);
	} while (n < 0 && errno == EINTR);
	close(fd);
	if (n < 0)
		return -1;
	ret[n] = '\0';
	return 0;
}

/*
 * State and start time (fields 3 and 22) of a process.  The second field is
 * its name in brackets, and may itself hold blanks and brackets.
 */
static int read_stat(uint64_t pid, char *ret_state, uint64_t *ret_start)
{
	char path[48], text[2048];
	const char *at;
	unsigned int field;

	snprintf(path, sizeof(path), "/proc/%" PRIu64 "/stat", pid);
	if (read_text(path, text, sizeof(text)) < 0)
		return -1;
	at = strrchr(text, ')');
	if (!at || at[1] != ' ')
		return -1;
	*ret_state = at[2];
	for (field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		return -1;
	*ret_start = strtoull(at + 1, NULL, 10);
	return 0;
}

static void host_self(void *arg, struct cfs_identity *ret)
{
	char text[64], state;

	(void)arg;
	memset(ret, 0, sizeof(*ret));
	if (read_text("/proc/sys/kernel/random/boot_id", text, sizeof(text)) ==
	    0) {
		text[strcspn(text, "\n")] = '\0';
		if (cfs_uuid_parse(text, ret->boot_id) < 0)
			memset(ret->boot_id, 0, sizeof(ret->boot_id));
	}
	if (gethostname(ret->host, sizeof(ret->host) - 1) < 0)
		ret->host[0] = '\0';
	ret->pid = (uint64_t)getpid();
	if (read_stat(ret->pid, &state, &ret->process_start) < 0)
		ret->process_start = 0;
}

static bool host_is_alive(void *arg, uint64_t pid, uint64_t process_start)
{
	uint64_t start;
	char state;

	(void)arg;
	if (pid == 0 || pid > INT32_MAX)
		return false;
	if (read_stat(pid, &state, &start) < 0)
		/* /proc may be hidden; the kernel still knows. */
		return kill((pid_t)pid, 0) == 0 || errno == EPERM;
	if (state == 'Z' || state == 'X')
		return false;
	return process_start == 0 || start == process_start;
}

const struct cfs_identity_source cfs_identity_host = {
	.self = host_self,
	.is_alive = host_is_alive,
	.arg = NULL,
};
