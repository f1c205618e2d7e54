/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session/serve_former.h"

#include "base/le.h"
#include "base/uuid.h"
#include "base/xxh.h"
#include "pool/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC          0x47534643u /* "CFSG" in byte order */
#define LINES          4096u
#define LINE_FREE      0u
#define LINE_PROCESS   1u
#define LINE_SECONDARY 2u

struct line_disk {
	le32 state;
	le32 epoch; /* of who wrote it */
	le64 pid;
	le64 process_start;
	le64 client; /* 0: not welcome yet */
};
CFS_ASSERT_SIZE(struct line_disk, 32);

struct head_disk {
	le32 magic;
	le32 epoch;
	uint8_t pool_uuid[16];
	uint8_t boot_id[16];
	le64 space;    /* of process numbers */
	le64 is_short; /* it has not all of them */
	le64 csum;     /* of all that is before it */
};
CFS_ASSERT_SIZE(struct head_disk, 64);

struct line {
	uint32_t state;
	uint64_t client; /* 0: not yet, or nobody knows */
	uint64_t pid, process_start;
	bool is_former;   /* of before, and not back */
	bool is_claiming; /* back, and has not said that it has all */
};

struct cfs_former {
	int fd;
	char path[CFS_ADDRESS_TEXT_BYTES];
	struct head_disk head;
	bool is_unknown; /* who was there before */
	uint32_t asked;  /* line of who says hello; LINES: none */
	uint32_t end;    /* lines from here on were never used */
	struct line lines[LINES];
};

/* ---- the file ------------------------------------------------------------ */

static bool put(struct cfs_former *f, const void *p, size_t bytes, size_t at)
{
	return pwrite(f->fd, p, bytes, (off_t)at) == (ssize_t)bytes;
}

static void put_head(struct cfs_former *f)
{
	f->head.csum = le64_put(
		cfs_xxh3(&f->head, offsetof(struct head_disk, csum)));
	/* A head that is not there makes the file say nothing. */
	if (!put(f, &f->head, sizeof(f->head), 0) && ftruncate(f->fd, 0) < 0)
		(void)unlink(f->path);
}

/* F1 */
static void set_short(struct cfs_former *f)
{
	if (le64_get(f->head.is_short))
		return;
	f->head.is_short = le64_put(1);
	put_head(f);
}

static void put_line(struct cfs_former *f, uint32_t i)
{
	const struct line *l = &f->lines[i];
	const struct line_disk disk = {
		.state = le32_put(l->state),
		.epoch = f->head.epoch,
		.pid = le64_put(l->pid),
		.process_start = le64_put(l->process_start),
		.client = le64_put(l->client),
	};

	if (!put(f, &disk, sizeof(disk), sizeof(f->head) + i * sizeof(disk)))
		set_short(f);
}

static bool get_head(struct cfs_former *f, uint32_t before)
{
	struct head_disk h;

	return pread(f->fd, &h, sizeof(h), 0) == (ssize_t)sizeof(h) &&
	       le64_get(h.csum) ==
		       cfs_xxh3(&h, offsetof(struct head_disk, csum)) &&
	       le32_get(h.magic) == MAGIC && before &&
	       le32_get(h.epoch) == before && !le64_get(h.is_short) &&
	       le64_get(h.space) == le64_get(f->head.space) &&
	       memcmp(h.pool_uuid, f->head.pool_uuid, 16) == 0 &&
	       memcmp(h.boot_id, f->head.boot_id, 16) == 0;
}

/* Those that live, kept; and the file begins with them. */
static bool get_lines(struct cfs_former *f)
{
	static const size_t bytes = LINES * sizeof(struct line_disk);
	struct line_disk *all = calloc(LINES, sizeof(*all));
	ssize_t n = all ? pread(f->fd, all, bytes, sizeof(f->head)) : -1;

	for (uint32_t i = 0; n > 0 && i < (size_t)n / sizeof(*all); i++) {
		if (le32_get(all[i].state) == LINE_FREE)
			continue;
		f->lines[f->end++] = (struct line){
			.state = le32_get(all[i].state),
			.pid = le64_get(all[i].pid),
			.process_start = le64_get(all[i].process_start),
			.client = le64_get(all[i].client),
			.is_former = true,
		};
	}
	free(all);
	return n >= 0;
}

/* ---- life ---------------------------------------------------------------- */

static void fill_head(struct cfs_former *f, const uint8_t pool_uuid[16],
		      uint32_t epoch)
{
	struct cfs_identity self;
	struct stat st;

	memset(&self, 0, sizeof(self));
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	f->head.magic = le32_put(MAGIC);
	f->head.epoch = le32_put(epoch);
	memcpy(f->head.pool_uuid, pool_uuid, 16);
	memcpy(f->head.boot_id, self.boot_id, 16);
	if (stat("/proc/self/ns/pid", &st) == 0)
		f->head.space = le64_put(st.st_ino);
	if (cfs_uuid_is_null(self.boot_id) || !le64_get(f->head.space))
		f->head.is_short = le64_put(1);
}

int cfs_former_open(const char *directory, const uint8_t pool_uuid[16],
		    bool has_clients, uint32_t before, uint32_t epoch,
		    struct cfs_former **ret, struct cfs_err *err)
{
	struct cfs_former *f = calloc(1, sizeof(*f));
	char uuid[CFS_UUID_TEXT_BYTES];
	int n;

	*ret = NULL;
	if (!f)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	f->asked = LINES;
	n = snprintf(f->path, sizeof(f->path), "%s/%s.clients", directory,
		     cfs_uuid_format(pool_uuid, uuid));
	f->fd = n > 0 && (size_t)n < sizeof(f->path)
			? open(f->path,
			       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)
			: -1;
	if (f->fd < 0) {
		free(f);
		return 0;
	}
	fill_head(f, pool_uuid, epoch);
	f->is_unknown = has_clients && (!get_head(f, before) || !get_lines(f));
	/* Of what was not known nothing will be. */
	if (f->is_unknown)
		f->head.is_short = le64_put(1);
	if (ftruncate(f->fd, 0) < 0)
		f->head.is_short = le64_put(1);
	put_head(f);
	for (uint32_t i = 0; i < f->end; i++)
		put_line(f, i);
	*ret = f;
	return 0;
}

void cfs_former_close(struct cfs_former *f)
{
	bool is_empty = true;

	if (!f)
		return;
	for (uint32_t i = 0; i < f->end; i++)
		is_empty &= f->lines[i].state == LINE_FREE;
	/* Without it nothing is known, as with one that is short. */
	if (is_empty || le64_get(f->head.is_short))
		(void)unlink(f->path);
	close(f->fd);
	free(f);
}

/* ---- those of before ----------------------------------------------------- */

/* "DIRECTORY/UUID.clients", beside the first socket of @addresses. */
static int open_beside(const char *addresses, const uint8_t pool_uuid[16])
{
	char uuid[CFS_UUID_TEXT_BYTES], first[CFS_ADDRESS_TEXT_BYTES];
	struct cfs_address address;
	struct stat st;
	char *slash;
	int n, fd;

	n = snprintf(first, sizeof(first), "%.*s", (int)strcspn(addresses, " "),
		     addresses);
	if (n < 0 || (size_t)n >= sizeof(first) ||
	    cfs_address_parse(first, &address, NULL) < 0 ||
	    address.kind != CFS_ADDRESS_UNIX)
		return -1;
	slash = strrchr(address.path, '/');
	n = snprintf(first, sizeof(first), "%.*s/%s.clients",
		     (int)(slash - address.path), address.path,
		     cfs_uuid_format(pool_uuid, uuid));
	fd = n > 0 && (size_t)n < sizeof(first)
		     ? open(first,
			    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
		     : -1;
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
			(st.st_uid != geteuid() && st.st_uid != 0))) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool lives(const struct line *l)
{
	return cfs_identity_host.is_alive(cfs_identity_host.arg, l->pid,
					  l->process_start);
}

/* Need he be waited for? */
static bool is_awaited(const struct line *l, cfs_former_has_all_fn has_all,
		       void *arg)
{
	if (l->state == LINE_FREE || (!l->is_former && !l->is_claiming))
		return false;
	if (l->is_claiming && has_all && has_all(arg, l->client))
		return false;
	return lives(l);
}

bool cfs_former_are_settled(const struct cfs_former *f,
			    cfs_former_has_all_fn has_all, void *arg)
{
	if (f->is_unknown)
		return false;
	for (uint32_t i = 0; i < f->end; i++)
		if (is_awaited(&f->lines[i], has_all, arg))
			return false;
	return true;
}

bool cfs_former_may_live(const char *addresses, const uint8_t pool_uuid[16],
			 uint32_t before)
{
	struct cfs_former *f = calloc(1, sizeof(*f));
	bool may = true;

	if (!f)
		return true;
	f->fd = open_beside(addresses, pool_uuid);
	fill_head(f, pool_uuid, before);
	if (f->fd >= 0 && get_head(f, before) && get_lines(f)) {
		may = false;
		for (uint32_t i = 0; i < f->end; i++)
			may |= f->lines[i].state != LINE_SECONDARY &&
			       lives(&f->lines[i]);
	}
	if (f->fd >= 0)
		close(f->fd);
	free(f);
	return may;
}

void cfs_former_forget(struct cfs_former *f)
{
	for (uint32_t i = 0; i < f->end; i++) {
		f->lines[i].is_claiming = false;
		if (f->lines[i].state == LINE_FREE || !f->lines[i].is_former)
			continue;
		f->lines[i].state = LINE_FREE;
		put_line(f, i);
	}
}

/* ---- those of now -------------------------------------------------------- */

/* Is he a process that we could look for? */
static bool is_visible(const struct cfs_former *f,
		       const struct cfs_link_peer *peer,
		       const struct cfs_msg_hello *hello)
{
	return peer->is_local && peer->pid && peer->pid == hello->pid &&
	       hello->process_start && !(hello->flags & CFS_HELLO_STANDING) &&
	       memcmp(hello->boot_id, f->head.boot_id, 16) == 0;
}

void cfs_former_add_unknown(struct cfs_former *f)
{
	set_short(f);
}

void cfs_former_hello(struct cfs_former *f, const struct cfs_link_peer *peer,
		      const struct cfs_msg_hello *hello)
{
	uint32_t i;

	f->asked = LINES;
	if (!is_visible(f, peer, hello)) {
		set_short(f);
		return;
	}
	for (i = 0; i < f->end && f->lines[i].state != LINE_FREE; i++)
		;
	if (i == LINES) {
		set_short(f);
		return;
	}
	if (i == f->end)
		f->end++;
	f->lines[i] = (struct line){
		.state = hello->flags & CFS_HELLO_SECONDARY ? LINE_SECONDARY
							    : LINE_PROCESS,
		.pid = hello->pid,
		.process_start = hello->process_start,
	};
	f->asked = i;
	put_line(f, i);
}

static void free_line(struct cfs_former *f, uint32_t i)
{
	f->lines[i] = (struct line){ .state = LINE_FREE };
	put_line(f, i);
}

void cfs_former_welcome(struct cfs_former *f, uint64_t client)
{
	uint32_t asked = f->asked;

	f->asked = LINES;
	if (asked == LINES)
		return;
	if (!client) {
		free_line(f, asked);
		return;
	}
	/* Over another connection, or of before: the same one. */
	for (uint32_t i = 0; i < f->end; i++) {
		struct line *l = &f->lines[i];

		if (l->state != LINE_FREE && l->client == client)
			f->lines[asked].is_claiming |= l->is_former ||
						       l->is_claiming;
	}
	cfs_former_ended(f, client);
	f->lines[asked].client = client;
	put_line(f, asked);
}

void cfs_former_ended(struct cfs_former *f, uint64_t client)
{
	for (uint32_t i = 0; i < f->end; i++)
		if (f->lines[i].state != LINE_FREE &&
		    f->lines[i].client == client)
			free_line(f, i);
}
