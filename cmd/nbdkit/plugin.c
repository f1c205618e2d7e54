/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What nbdkit asks of a plugin: parameters, exports, and what they can. */
#define NBDKIT_API_VERSION 2

#include "nbdkit/plugin.h"

#include "base/cleanup.h"
#include "ondisk/table.h"

#include <errno.h>
#include <inttypes.h>
#include <nbdkit-plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREAD_MODEL      NBDKIT_THREAD_MODEL_PARALLEL

#define WAIT_SECONDS      10u
/* nbdkit takes no more. */
#define EXPORTS_MAX       10000u
#define REQUEST_BYTES_MAX (UINT32_C(32) << 20)

/* ---- parameters ---------------------------------------------------------- */

static bool is_uri(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz");

	return n > 1 && text[n] == ':';
}

/* nbdkit changes to another directory before the pool is opened. */
static int take_path(const char *value, char **ret)
{
	char *path = is_uri(value) ? strdup(value)
				   : nbdkit_absolute_path(value);

	if (!path) {
		nbdkit_error("%s: %m", value);
		return -1;
	}
	free(*ret);
	*ret = path;
	return 0;
}

static int add_search(const char *value)
{
	struct pool_config *c = &pool_config;
	const char **list = realloc(c->search,
				    (c->search_count + 2) * sizeof(*list));
	char *path = NULL;

	if (!list) {
		nbdkit_error("out of memory");
		return -1;
	}
	c->search = list;
	list[c->search_count] = NULL;
	if (take_path(value, &path) < 0)
		return -1;
	list[c->search_count++] = path;
	list[c->search_count] = NULL;
	return 0;
}

/* $CFS_SEARCH: directories, separated by colons. */
static int search_env(void)
{
	const char *value = getenv("CFS_SEARCH");
	CFS_CLEANUP(cfs_freep) char *copy = strdup(value ? value : "");
	char *rest = copy, *at;
	int r = 0;

	while (r == 0 && (at = strsep(&rest, ":")))
		r = *at ? add_search(at) : 0;
	return r;
}

static int config(const char *key, const char *value)
{
	if (strcmp(key, "pool") == 0)
		return take_path(value, &pool_config.pool);
	if (strcmp(key, "clients") == 0)
		return take_path(value, &pool_config.clients);
	if (strcmp(key, "search") == 0)
		return add_search(value);
	if (strcmp(key, "wait") == 0)
		return nbdkit_parse_unsigned("wait", value,
					     &pool_config.wait_seconds);
	if (strcmp(key, "volume") == 0) {
		free(pool_config.volume);
		pool_config.volume = strdup(value);
		return pool_config.volume ? 0 : -1;
	}
	nbdkit_error("unknown parameter '%s'", key);
	return -1;
}

static void load(void)
{
	pool_config.wait_seconds = WAIT_SECONDS;
}

static int config_complete(void)
{
	const char *pool = getenv("CFS_POOL");

	if (!pool_config.pool && pool && *pool &&
	    take_path(pool, &pool_config.pool) < 0)
		return -1;
	if (!pool_config.pool) {
		nbdkit_error("which pool? pool=POOL is missing");
		return -1;
	}
	return search_env();
}

static int get_ready(void)
{
	struct cfs_err err = CFS_ERR_INIT;

	if (pool_look(&err) == 0)
		return 0;
	nbdkit_error("%s: %s", pool_config.pool, err.msg);
	return -1;
}

static int after_fork(void)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct pool *p;

	if (pool_get(&p, &err) < 0) {
		nbdkit_error("%s: %s", pool_config.pool, err.msg);
		return -1;
	}
	pool_put(p);
	if (rest_begin() != 0)
		nbdkit_debug("no thread: memory is not given back");
	return 0;
}

static void cleanup(void)
{
	rest_end();
	pool_end();
}

static void unload(void)
{
	struct pool_config *c = &pool_config;

	rest_end();
	pool_end();
	for (size_t i = 0; i < c->search_count; i++)
		free((void *)(uintptr_t)c->search[i]);
	free(c->search);
	free(c->pool);
	free(c->volume);
	free(c->clients);
	memset(c, 0, sizeof(*c));
}

static void dump_plugin(void)
{
	printf("cfs_version=%s\n", CFS_VERSION);
}

/* ---- exports ------------------------------------------------------------- */

struct listing {
	struct nbdkit_exports *exports; /* NULL: the first LUN is looked for */
	unsigned int count;
	char first[260];
};

static int list_lun(void *arg, const struct cfs_volume_info *v)
{
	struct listing *l = arg;

	if (v->kind != CFS_VOLUME_LUN || l->count == EXPORTS_MAX)
		return 0;
	if (l->count++ == 0)
		memcpy(l->first, v->name, sizeof(l->first));
	return l->exports ? nbdkit_add_export(l->exports, v->name,
					      *v->origin ? v->origin : NULL)
			  : 0;
}

/* Snapshots of LUNs have a size, those of trees none. */
static int list_snapshot(void *arg, const struct cfs_snapshot_info *i)
{
	struct listing *l = arg;
	CFS_CLEANUP(cfs_freep) char *name = NULL;

	if (i->size_bytes == 0 || l->count == EXPORTS_MAX)
		return 0;
	if (asprintf(&name, "%s@%s", i->volume, i->name) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	l->count++;
	return nbdkit_add_export(l->exports, name, *i->note ? i->note : NULL);
}

static int list_all(struct listing *l)
{
	struct cfs_err err = CFS_ERR_INIT;
	struct pool *p;
	int r = pool_get(&p, &err);

	if (r == 0) {
		r = cfs_session_volumes(pool_session(p), NULL, list_lun, l,
					&err);
		if (r == 0 && l->exports)
			r = cfs_session_snapshots(pool_session(p), NULL, false,
						  list_snapshot, l, &err);
		if (r == -ECONNRESET)
			pool_is_broken(p);
		pool_put(p);
	}
	if (r == 0)
		return 0;
	nbdkit_error("%s: %s", pool_config.pool,
		     *err.msg ? err.msg : strerror(-r));
	return -1;
}

static int list_exports(int readonly, int is_tls,
			struct nbdkit_exports *exports)
{
	struct listing l = { .exports = exports };

	(void)readonly;
	(void)is_tls;
	return list_all(&l);
}

/* What was asked for, else the one LUN that there is. */
static const char *default_export(int readonly, int is_tls)
{
	struct listing l = { .exports = NULL };

	(void)readonly;
	(void)is_tls;
	if (pool_config.volume)
		return nbdkit_strdup_intern(pool_config.volume);
	if (list_all(&l) < 0 || l.count != 1)
		return NULL;
	return nbdkit_strdup_intern(l.first);
}

static void *open_export(int readonly)
{
	const char *name = nbdkit_export_name();
	struct cfs_err err = CFS_ERR_INIT;
	struct export *e = NULL;
	int r;

	if (name && !*name)
		name = default_export(readonly, 0);
	if (!name || !*name) {
		nbdkit_error("%s: there is no default export: name a volume",
			     pool_config.pool);
		nbdkit_set_error(ENOENT);
		return NULL;
	}
	r = export_open(name, readonly, &e, &err);
	if (r < 0) {
		nbdkit_error("%s: %s", name, err.msg);
		nbdkit_set_error(-r);
		return NULL;
	}
	clients_add(e, name);
	return e;
}

static void close_export(void *handle)
{
	clients_drop(handle);
	export_close(handle);
}

static const char *export_description(void *handle)
{
	const struct export *e = handle;

	return nbdkit_printf_intern("cfs LUN of %" PRIu64 " bytes%s",
				    e->size_bytes,
				    e->is_writable ? "" : ", read-only");
}

/* ---- what they can ------------------------------------------------------- */

static int64_t get_size(void *handle)
{
	const struct export *e = handle;

	return (int64_t)e->size_bytes;
}

static int block_size(void *handle, uint32_t *minimum, uint32_t *preferred,
		      uint32_t *maximum)
{
	(void)handle;
	*minimum = 1;
	*preferred = 4096;
	*maximum = REQUEST_BYTES_MAX;
	return 0;
}

static int can_write(void *handle)
{
	const struct export *e = handle;

	return e->is_writable;
}

static int yes(void *handle)
{
	(void)handle;
	return 1;
}

static int no(void *handle)
{
	(void)handle;
	return 0;
}

static int can_fua(void *handle)
{
	(void)handle;
	return NBDKIT_FUA_NATIVE;
}

static int can_cache(void *handle)
{
	(void)handle;
	return NBDKIT_CACHE_NATIVE;
}

static struct nbdkit_plugin plugin = {
	.name = "cfs",
	.longname = "cfs",
	.version = CFS_VERSION,
	.description = "LUNs of a cfs pool, their clones and snapshots",
	.load = load,
	.unload = unload,
	.config = config,
	.config_complete = config_complete,
	.magic_config_key = "pool",
	.config_help =
		"pool=<POOL>        (required) a device of the pool\n"
		"volume=<VOLUME>    what is exported to who names nothing\n"
		"clients=<FILE>     list there who is connected\n"
		"search=<DIR>       where the pool's other devices may be\n"
		"wait=<SECONDS>     for who holds the pool, or a lease (10)",
	.dump_plugin = dump_plugin,
	.get_ready = get_ready,
	.after_fork = after_fork,
	.cleanup = cleanup,
	.list_exports = list_exports,
	.default_export = default_export,
	.export_description = export_description,
	.open = open_export,
	.close = close_export,
	.get_size = get_size,
	.block_size = block_size,
	.can_write = can_write,
	.can_flush = yes,
	.can_trim = yes,
	.can_zero = yes,
	.can_fast_zero = yes,
	.can_extents = yes,
	.can_multi_conn = yes,
	.can_fua = can_fua,
	.can_cache = can_cache,
	.is_rotational = no,
	.pread = io_pread,
	.pwrite = io_pwrite,
	.flush = io_flush,
	.trim = io_trim,
	.zero = io_zero,
	.extents = io_extents,
	.cache = io_cache,
	.errno_is_preserved = 1,
};

NBDKIT_REGISTER_PLUGIN(plugin)
