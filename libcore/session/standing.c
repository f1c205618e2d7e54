/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files of leases that stand by themselves: see standing.h. */
#include "session/standing.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/le.h"
#include "base/uuid.h"
#include "base/xxh.h"
#include "pool/holder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC      0x4c534643u /* "CFSL" in byte order */
#define SUFFIX     ".lease"
#define NEW        ".new"
#define PATH_BYTES 4352u

struct lease_disk {
	le64 id, key, generation;
	le64 container, volume, ino, offset_bytes, length_bytes;
	le64 mode;
};
CFS_ASSERT_SIZE(struct lease_disk, 72);

struct standing_disk {
	le32 magic;
	le32 lease_count;
	uint8_t pool_uuid[16];
	uint8_t boot_id[16];
	le64 space; /* of clocks */
	le64 client, lease;
	uint8_t secret[CFS_LEASE_SECRET_BYTES];
	le64 epoch;
	le64 period_ns;
	le64 boot_ns, raw_ns;
	struct lease_disk leases[CFS_STANDING_LEASES_MAX];
	le64 csum; /* of all that is before it */
};
CFS_ASSERT_SIZE(struct standing_disk, 264);

struct cfs_standing {
	int fd;
	bool is_dropped;
	char path[PATH_BYTES];
	struct cfs_standing_record rec;
};

/* ---- bytes --------------------------------------------------------------- */

/* N3: where the clocks of a record count. */
static void fill_place(struct standing_disk *d)
{
	struct cfs_identity self;
	struct stat st;

	memset(&self, 0, sizeof(self));
	cfs_identity_host.self(cfs_identity_host.arg, &self);
	memcpy(d->boot_id, self.boot_id, sizeof(d->boot_id));
	if (stat("/proc/self/ns/time", &st) == 0)
		d->space = le64_put(st.st_ino);
}

static void pack(const struct cfs_standing_record *rec, struct standing_disk *d)
{
	memset(d, 0, sizeof(*d));
	fill_place(d);
	d->magic = le32_put(MAGIC);
	d->lease_count = le32_put(rec->lease_count);
	memcpy(d->pool_uuid, rec->pool_uuid, sizeof(d->pool_uuid));
	d->client = le64_put(rec->name.client_id);
	d->lease = le64_put(rec->name.lease_id);
	memcpy(d->secret, rec->name.secret, sizeof(d->secret));
	d->epoch = le64_put(rec->epoch);
	d->period_ns = le64_put(rec->period_ns);
	d->boot_ns = le64_put(rec->boot_ns);
	d->raw_ns = le64_put(rec->raw_ns);
	for (uint32_t i = 0; i < rec->lease_count; i++) {
		const struct cfs_handed_lease *l = &rec->leases[i];

		d->leases[i] = (struct lease_disk){
			.id = le64_put(l->lease_id),
			.key = le64_put(l->key),
			.generation = le64_put(l->generation),
			.container = le64_put(l->resource.container),
			.volume = le64_put(l->resource.volume),
			.ino = le64_put(l->resource.ino),
			.offset_bytes = le64_put(l->resource.offset_bytes),
			.length_bytes = le64_put(l->resource.length_bytes),
			.mode = le64_put(l->mode),
		};
	}
	d->csum = le64_put(cfs_xxh3(d, offsetof(struct standing_disk, csum)));
}

static bool unpack_lease(const struct lease_disk *d,
			 struct cfs_handed_lease *ret)
{
	*ret = (struct cfs_handed_lease){
		.lease_id = le64_get(d->id),
		.key = le64_get(d->key),
		.generation = le64_get(d->generation),
		.mode = (uint32_t)le64_get(d->mode),
		.resource = {
			.container = le64_get(d->container),
			.volume = le64_get(d->volume),
			.ino = le64_get(d->ino),
			.offset_bytes = le64_get(d->offset_bytes),
			.length_bytes = le64_get(d->length_bytes),
		},
	};
	return ret->lease_id && cfs_lock_mode_is_valid(ret->mode) &&
	       cfs_lock_resource_is_valid(&ret->resource, ret->mode);
}

/* False: not one of ours, or of another boot. */
static bool unpack(const struct standing_disk *d,
		   struct cfs_standing_record *ret)
{
	struct standing_disk here = { .magic = le32_put(MAGIC) };
	bool is_fine;

	fill_place(&here);
	is_fine = memcmp(&d->magic, &here.magic, sizeof(d->magic)) == 0 &&
		  le64_get(d->csum) ==
			  cfs_xxh3(d, offsetof(struct standing_disk, csum)) &&
		  !cfs_uuid_is_null(here.boot_id) &&
		  cfs_uuid_is_equal(d->boot_id, here.boot_id) &&
		  memcmp(&d->space, &here.space, sizeof(d->space)) == 0 &&
		  le32_get(d->lease_count) <= CFS_STANDING_LEASES_MAX;
	if (!is_fine)
		return false;
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->pool_uuid, d->pool_uuid, sizeof(ret->pool_uuid));
	ret->name.client_id = le64_get(d->client);
	ret->name.lease_id = le64_get(d->lease);
	memcpy(ret->name.secret, d->secret, sizeof(ret->name.secret));
	ret->epoch = le64_get(d->epoch);
	ret->period_ns = le64_get(d->period_ns);
	ret->boot_ns = le64_get(d->boot_ns);
	ret->raw_ns = le64_get(d->raw_ns);
	ret->lease_count = le32_get(d->lease_count);
	for (uint32_t i = 0; i < ret->lease_count && is_fine; i++)
		is_fine = unpack_lease(&d->leases[i], &ret->leases[i]);
	return is_fine;
}

/* ---- files --------------------------------------------------------------- */

static int path_of(const char *directory, const uint8_t pool_uuid[16],
		   const struct cfs_lease_name *name, char ret[PATH_BYTES])
{
	char uuid[CFS_UUID_TEXT_BYTES];
	int n = snprintf(ret, PATH_BYTES, "%s/%s.%" PRIx64 "-%" PRIx64 SUFFIX,
			 directory, cfs_uuid_format(pool_uuid, uuid),
			 name->client_id, name->lease_id);

	return n > 0 && (size_t)n < PATH_BYTES ? 0 : -ENAMETOOLONG;
}

/* One that is gone by the time that we have it is none. */
static int open_locked(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	int r;

	if (fd < 0)
		return errno == ELOOP ? -ENOENT : -errno;
	r = flock(fd, LOCK_EX | LOCK_NB) < 0
		    ? (errno == EWOULDBLOCK ? -EBUSY : -errno)
		    : 0;
	if (r == 0 &&
	    (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink == 0))
		r = -ENOENT;
	else if (r == 0 && st.st_uid != geteuid())
		r = -EPERM;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

static int load(const char *path, struct cfs_standing *ret)
{
	struct standing_disk d;
	int fd = open_locked(path);

	if (fd < 0)
		return fd;
	if (pread(fd, &d, sizeof(d), 0) != (ssize_t)sizeof(d) ||
	    !unpack(&d, &ret->rec)) {
		close(fd);
		return -ENOENT;
	}
	ret->fd = fd;
	(void)snprintf(ret->path, sizeof(ret->path), "%s", path);
	return 0;
}

static bool still_runs(const struct cfs_standing_record *rec)
{
	struct cfs_lease_clock clock;

	cfs_lease_clock_init(&clock);
	clock.boot_ns = rec->boot_ns;
	clock.raw_ns = rec->raw_ns;
	return cfs_period_still_runs(rec->period_ns,
				     cfs_clock_elapsed_ns(&clock.clock));
}

static bool is_ours(const char *name)
{
	const size_t n = strlen(name), suffix = strlen(SUFFIX);

	return n > suffix && strcmp(name + n - suffix, SUFFIX) == 0;
}

/* What nobody can come back with. */
static void sweep(const char *directory)
{
	CFS_CLEANUP(cfs_freep) struct cfs_standing *st = calloc(1, sizeof(*st));
	DIR *d = st ? opendir(directory) : NULL;
	const struct dirent *e;
	char path[PATH_BYTES];
	int r, n;

	while (d && (e = readdir(d)) != NULL) {
		n = snprintf(path, sizeof(path), "%s/%s", directory, e->d_name);
		if (!is_ours(e->d_name) || n < 0 || (size_t)n >= sizeof(path))
			continue;
		st->fd = -1;
		r = load(path, st);
		/* -ENOENT: of another boot, or broken. */
		if (r == -ENOENT || (r == 0 && !still_runs(&st->rec)))
			(void)unlink(path);
		if (st->fd >= 0)
			close(st->fd);
	}
	if (d)
		closedir(d);
}

int cfs_standing_keep(const char *directory,
		      const struct cfs_standing_record *rec,
		      struct cfs_err *err)
{
	struct standing_disk d;
	char path[PATH_BYTES], made[PATH_BYTES + sizeof(NEW)];
	int fd, r = path_of(directory, rec->pool_uuid, &rec->name, path);

	if (r == 0 && mkdir(directory, 0700) < 0 && errno != EEXIST)
		r = -errno;
	if (r < 0)
		return cfs_err_errno(err, r, "%s", directory);
	sweep(directory);
	pack(rec, &d);
	(void)snprintf(made, sizeof(made), "%s" NEW, path);
	(void)unlink(made);
	fd = open(made, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return cfs_err_errno(err, -errno, "%s", path);
	/* Another one that sweeps takes half of one for broken. */
	if (write(fd, &d, sizeof(d)) != (ssize_t)sizeof(d) ||
	    rename(made, path) < 0) {
		r = cfs_err_errno(err, errno ? -errno : -EIO, "%s", path);
		(void)unlink(made);
	}
	close(fd);
	return r;
}

int cfs_standing_open(const char *directory, const uint8_t pool_uuid[16],
		      const struct cfs_lease_name *name,
		      struct cfs_standing **ret)
{
	struct cfs_standing *st = calloc(1, sizeof(*st));
	char path[PATH_BYTES];
	int r;

	if (!st)
		return -ENOMEM;
	r = path_of(directory, pool_uuid, name, path);
	if (r == 0)
		r = load(path, st);
	if (r == 0 && (st->rec.name.client_id != name->client_id ||
		       st->rec.name.lease_id != name->lease_id ||
		       !cfs_uuid_is_equal(st->rec.pool_uuid, pool_uuid))) {
		close(st->fd);
		r = -ENOENT;
	}
	if (r < 0)
		free(st);
	else
		*ret = st;
	return r;
}

void cfs_standing_close(struct cfs_standing *st)
{
	if (!st)
		return;
	close(st->fd);
	free(st);
}

void cfs_standing_closep(struct cfs_standing **st)
{
	cfs_standing_close(*st);
}

const struct cfs_standing_record *cfs_standing_record(
	const struct cfs_standing *st)
{
	return &st->rec;
}

bool cfs_standing_still_runs(const struct cfs_standing *st)
{
	return !st->is_dropped && still_runs(&st->rec);
}

bool cfs_standing_drop(struct cfs_standing *st)
{
	bool is_gone;

	st->is_dropped = true;
	/* Whoever has it open already finds nothing in it. */
	is_gone = ftruncate(st->fd, 0) == 0;
	return unlink(st->path) == 0 || is_gone;
}

static void store(struct cfs_standing *st, const struct cfs_lease_clock *sent)
{
	struct standing_disk d;

	if (st->is_dropped)
		return;
	st->rec.boot_ns = sent->boot_ns;
	st->rec.raw_ns = sent->raw_ns;
	pack(&st->rec, &d);
	/* One that is torn is none. */
	if (pwrite(st->fd, &d, sizeof(d), 0) != (ssize_t)sizeof(d))
		(void)unlink(st->path);
}

void cfs_standing_renewed(struct cfs_standing *st, uint64_t epoch,
			  const struct cfs_lease_clock *sent)
{
	st->rec.epoch = epoch;
	store(st, sent);
}

void cfs_standing_welcome(struct cfs_standing *st,
			  const struct cfs_msg_welcome *welcome,
			  const struct cfs_lease_clock *sent)
{
	st->rec.epoch = welcome->epoch;
	st->rec.period_ns = welcome->period_ns;
	store(st, sent);
}

/* ---- what is remembered -------------------------------------------------- */

void cfs_standing_of(struct cfs_leaser *leaser, const uint8_t pool_uuid[16],
		     struct cfs_held *const *held, size_t count,
		     struct cfs_standing_record *ret)
{
	struct cfs_lease_clock now;
	struct cfs_lease_client *client;
	const struct cfs_msg_welcome *welcome;
	uint64_t run_ns;

	memset(ret, 0, sizeof(*ret));
	memcpy(ret->pool_uuid, pool_uuid, sizeof(ret->pool_uuid));
	/* First this, so that what has run is rather more than it was. */
	cfs_lease_clock_init(&now);
	client = cfs_leaser_lock(leaser);
	welcome = cfs_lease_client_welcome(client);
	ret->epoch = welcome->epoch;
	ret->period_ns = welcome->period_ns;
	run_ns = ret->period_ns -
		 CFS_MIN(cfs_lease_client_left_ns(client), ret->period_ns);
	ret->boot_ns = now.boot_ns - run_ns;
	ret->raw_ns = now.raw_ns - run_ns;
	for (size_t i = 0; i < count; i++) {
		const struct cfs_lease *l = held[i]->lease;

		ret->leases[ret->lease_count++] = (struct cfs_handed_lease){
			.lease_id = cfs_lease_grant_of(l),
			.key = 1,
			.generation = cfs_lease_generation_of(l),
			.mode = cfs_lease_mode_of(l),
			.resource = *cfs_lease_resource_of(l),
		};
		cfs_lease_name_of(l, &ret->name);
	}
	cfs_leaser_unlock(leaser);
}
