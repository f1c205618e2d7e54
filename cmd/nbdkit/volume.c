/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Volumes that are open.  All connections that write the same volume share one
 * handle, so that a flush on one of them covers what the others wrote, however
 * its bytes are reached: nbdkit promises that to its clients (multi-conn).
 */
#define NBDKIT_API_VERSION 2

#include "nbdkit/plugin.h"

#include "ondisk/table.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct volume {
	struct volume *next;
	struct pool *pool;
	struct cfs_io_volume *io;
	char *name; /* of the export */
	bool is_writable;
	unsigned int users;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct volume *volumes;

static void volume_free(struct volume *v)
{
	cfs_io_close(v->io);
	if (v->pool)
		pool_put(v->pool);
	free(v->name);
	free(v);
}

/* @name is cut at the '@'. */
static int open_io(struct pool *p, char *name, bool is_writable,
		   struct cfs_io_volume **ret, struct cfs_err *err)
{
	struct cfs_io_volume *io = NULL;
	char *at = strchr(name, '@');
	int r;

	if (at)
		*at = '\0';
	if (at && is_writable)
		return cfs_err_set(err, -EROFS, "a snapshot is not written");
	r = cfs_io_open(pool_session(p), name, at ? at + 1 : NULL, is_writable,
			&io, err);
	if (at)
		*at = '@';
	if (r == -ECONNRESET)
		pool_is_broken(p);
	if (r == 0 && cfs_io_kind(io) != CFS_VOLUME_LUN) {
		cfs_io_close(io);
		return cfs_err_set(err, -EINVAL, "a tree is no disk");
	}
	if (r == 0)
		*ret = io;
	return r;
}

/* With the lock.  Takes one use of @p. */
static int volume_new(struct pool *p, const char *name, bool is_writable,
		      struct volume **ret, struct cfs_err *err)
{
	struct volume *v = calloc(1, sizeof(*v));
	int r;

	if (!v) {
		pool_put(p);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	v->pool = p;
	v->name = strdup(name);
	v->is_writable = is_writable;
	v->users = 1;
	r = v->name ? open_io(p, v->name, is_writable, &v->io, err)
		    : cfs_err_set(err, -ENOMEM, "out of memory");
	if (r < 0) {
		volume_free(v);
		return r;
	}
	v->next = volumes;
	volumes = v;
	*ret = v;
	return 0;
}

/* Shared by all; one of a session that has broken is left to its users. */
static int volume_get(const char *name, bool is_writable, struct volume **ret,
		      struct cfs_err *err)
{
	struct volume *v;
	struct pool *p;
	int r = pool_get(&p, err);

	if (r < 0)
		return r;
	pthread_mutex_lock(&lock);
	for (v = volumes; v; v = v->next)
		if (v->pool == p && v->is_writable == is_writable &&
		    strcmp(v->name, name) == 0)
			break;
	if (v) {
		v->users++;
		pool_put(p);
		*ret = v;
	} else {
		r = volume_new(p, name, is_writable, ret, err);
	}
	pthread_mutex_unlock(&lock);
	return r;
}

static void volume_put(struct volume *v)
{
	struct volume **at;

	pthread_mutex_lock(&lock);
	if (--v->users == 0) {
		for (at = &volumes; *at != v; at = &(*at)->next)
			;
		*at = v->next;
		volume_free(v);
	}
	pthread_mutex_unlock(&lock);
}

/*
 * The handle may be older than a change of the size: a new one knows.  Where
 * somebody waits to have the volume alone there is none to be had, and no
 * change either.
 */
static uint64_t size_now(const struct volume *v)
{
	const uint64_t known = cfs_io_size_bytes(v->io);
	char *name = v->users > 1 ? strdup(v->name) : NULL;
	struct cfs_io_volume *io = NULL;
	uint64_t size_bytes = known;

	if (name && open_io(v->pool, name, false, &io, NULL) == 0) {
		size_bytes = cfs_io_size_bytes(io);
		cfs_io_close(io);
	}
	free(name);
	return size_bytes;
}

int export_open(const char *name, bool is_readonly, struct export **ret,
		struct cfs_err *err)
{
	struct export *e = calloc(1, sizeof(*e));
	int r = -EROFS;

	if (!e)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	e->is_writable = !is_readonly && !strchr(name, '@');
	if (e->is_writable)
		r = volume_get(name, true, &e->volume, err);
	if (r == -EROFS) {
		e->is_writable = false;
		r = volume_get(name, false, &e->volume, err);
	}
	if (r < 0) {
		free(e);
		return r;
	}
	e->size_bytes = size_now(e->volume);
	*ret = e;
	return 0;
}

void export_close(struct export *e)
{
	volume_put(e->volume);
	free(e);
}

struct cfs_io_volume *export_io(const struct export *e)
{
	rest_not_yet();
	return e->volume->io;
}

void export_failed(const struct export *e, int r)
{
	if (r == -ECONNRESET)
		pool_is_broken(e->volume->pool);
}
