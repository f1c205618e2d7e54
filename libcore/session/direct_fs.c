/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Life, and the calls that touch one inode. */
#include "session/direct_fs_priv.h"

#include "base/bits.h"

#include <stdlib.h>

#define TRIES_MAX 8u

/* ---- every call ---------------------------------------------------------- */

bool direct_again(struct direct_fs *d, unsigned int *tries, int *r,
		  struct cfs_err *err)
{
	/* It has succeeded in the end: nothing is to be told. */
	if (*r >= 0 && *tries && err)
		*err = (struct cfs_err)CFS_ERR_INIT;
	if (*r != -EAGAIN || !cfs_container_is_client(d->view.container) ||
	    (*tries)++ == TRIES_MAX)
		return false;
	*r = cfs_container_client_again(d->view.container, *r, err);
	return *r == 1;
}

bool direct_gate(struct direct_fs *d)
{
	if (__atomic_load_n(&d->locks, __ATOMIC_ACQUIRE))
		return false;
	pthread_rwlock_rdlock(&d->gate);
	if (!__atomic_load_n(&d->locks, __ATOMIC_ACQUIRE))
		return true;
	pthread_rwlock_unlock(&d->gate);
	return false;
}

void direct_ungate(struct direct_fs *d)
{
	pthread_rwlock_unlock(&d->gate);
}

int direct_begin(struct direct_fs *d, const struct cfs_tree_want *wants,
		 size_t count, struct cfs_tree_pins *ret, struct cfs_err *err)
{
	int r;

	*ret = (struct cfs_tree_pins){ .has_gate = direct_gate(d) };
	if (ret->has_gate)
		return 0;
	r = cfs_tree_locks_get(d->locks, wants, count, ret, err);
	if (r == 0 && !cfs_tree_locks_may_start(d->locks, ret)) {
		cfs_tree_locks_put(d->locks, ret, false);
		r = cfs_err_set(err, -ESTALE,
				"the lease is lost, or ends "
				"too soon");
	}
	return r;
}

int direct_end(struct direct_fs *d, struct cfs_tree_pins *pins, int r,
	       bool writes, struct cfs_err *err)
{
	if (pins->has_gate) {
		direct_ungate(d);
		return r;
	}
	if (r >= 0 && !cfs_tree_locks_hold(d->locks, pins))
		r = cfs_err_set(err, -ESTALE, "the lease was lost meanwhile");
	cfs_tree_locks_put(d->locks, pins, writes);
	return r;
}

/* One inode, and @call under its lease. */
#define UNDER(d, ino_, writes_, call)                                          \
	do {                                                                   \
		const struct cfs_tree_want want_ = { (ino_), (writes_) };      \
		struct cfs_tree_pins pins_;                                    \
		int r_ = direct_begin(d, &want_, 1, &pins_, err);              \
                                                                               \
		if (r_ < 0)                                                    \
			return r_;                                             \
		DIRECT_RUN(d, r_, call);                                       \
		return direct_end(d, &pins_, r_, writes_, err);                \
	} while (0)

/* ---- what the leases want ------------------------------------------------ */

static int lease_acquire(void *arg, const struct cfs_lease_request *req,
			 const struct cfs_conn_wait *wait,
			 struct cfs_held **ret, struct cfs_err *err)
{
	struct direct_fs *d = arg;

	return d->upper.acquire(d->upper.arg, req, wait, ret, err);
}

static void lease_lost(void *arg)
{
	struct direct_fs *d = arg;

	if (d->upper.lost)
		d->upper.lost(d->upper.arg);
}

static void lease_will_wait(void *arg)
{
	struct direct_fs *d = arg;

	if (d->upper.will_wait)
		d->upper.will_wait(d->upper.arg);
}

static void lease_leaves(void *arg)
{
	struct direct_fs *d = arg;

	pthread_rwlock_rdlock(&d->watch_lock);
	if (d->watch.changes)
		d->watch.changes(d->watch.arg);
	pthread_rwlock_unlock(&d->watch_lock);
}

/* A client folds; what the manager did is seen by all once it is committed. */
static int lease_settle(void *arg, struct cfs_err *err)
{
	struct cfs_container *c = ((struct direct_fs *)arg)->view.container;

	return cfs_container_is_client(c) ? cfs_container_fold(c, err)
					  : cfs_container_commit(c, err);
}

/* What others left without a name is only space: a failure is left to the
 * next one. */
static void sweep(struct direct_fs *d, struct cfs_err *err)
{
	int r;

	if (cfs_fs_is_writable(d->inner) &&
	    cfs_container_is_writable(d->view.container))
		DIRECT_RUN(d, r,
			   cfs_fs_reclaim_orphans(d->view.container,
						  d->view.branch, NULL, err));
}

static uint64_t lease_published(void *arg)
{
	const struct direct_fs *d = arg;

	return cfs_container_client_folds(d->view.container);
}

static int lease_fresh(void *arg, uint64_t generation, bool is_alone,
		       struct cfs_err *err)
{
	struct direct_fs *d = arg;
	struct cfs_container *c = d->view.container;
	struct cfs_client_counts counts;
	struct cfs_err own = CFS_ERR_INIT;
	int r = 0;

	if (cfs_container_is_client(c)) {
		cfs_container_client_counts(c, &counts);
		if (generation > counts.root_seq)
			r = cfs_container_refresh(c, err);
	}
	if (r == 0 && is_alone)
		sweep(d, &own);
	return r;
}

/* ---- one inode ----------------------------------------------------------- */

static int fs_sync(void *arg, uint64_t ino, struct cfs_err *err)
{
	struct direct_fs *d = arg;

	return cfs_fs_sync(d->inner, ino, err);
}

static int fs_statfs(void *arg, struct cfs_fs_space *ret, struct cfs_err *err)
{
	struct direct_fs *d = arg;

	return cfs_fs_statfs(d->inner, ret, err);
}

static int fs_getattr(void *arg, uint64_t ino, struct cfs_inode *ret,
		      struct cfs_err *err)
{
	struct direct_fs *d = arg;

	UNDER(d, ino, false, cfs_fs_getattr(d->inner, ino, ret, err));
}

static int fs_block_count(void *arg, uint64_t ino, uint64_t *ret_count,
			  struct cfs_err *err)
{
	struct direct_fs *d = arg;

	UNDER(d, ino, false, cfs_fs_block_count(d->inner, ino, ret_count, err));
}

static int fs_setattr(void *arg, uint64_t ino, const struct cfs_fs_attr *attr,
		      struct cfs_inode *ret, struct cfs_err *err)
{
	struct direct_fs *d = arg;

	UNDER(d, ino, true, cfs_fs_setattr(d->inner, ino, attr, ret, err));
}

static int fs_readdir(void *arg, uint64_t dir_ino, uint64_t cookie,
		      struct cfs_fs_entry *entries, size_t entry_count,
		      size_t *ret_count, struct cfs_err *err)
{
	struct direct_fs *d = arg;

	UNDER(d, dir_ino, false,
	      cfs_fs_readdir(d->inner, dir_ino, cookie, entries, entry_count,
			     ret_count, err));
}

static int fs_readlink(void *arg, uint64_t ino, void *buf, size_t buf_bytes,
		       size_t *ret_bytes, struct cfs_err *err)
{
	struct direct_fs *d = arg;

	UNDER(d, ino, false,
	      cfs_fs_readlink(d->inner, ino, buf, buf_bytes, ret_bytes, err));
}

static int fs_xattr_get(void *arg, uint64_t ino, const char *name, void *buf,
			size_t buf_bytes, size_t *ret_bytes,
			struct cfs_err *err)
{
	struct direct_fs *d = arg;

	UNDER(d, ino, false,
	      cfs_fs_xattr_get(d->inner, ino, name, buf, buf_bytes, ret_bytes,
			       err));
}

static int fs_xattr_list(void *arg, uint64_t ino, char *buf, size_t buf_bytes,
			 size_t *ret_bytes, struct cfs_err *err)
{
	struct direct_fs *d = arg;

	UNDER(d, ino, false,
	      cfs_fs_xattr_list(d->inner, ino, buf, buf_bytes, ret_bytes, err));
}

static int fs_xattr_set(void *arg, uint64_t ino, const char *name,
			const void *value, size_t value_bytes, uint32_t flags,
			struct cfs_err *err)
{
	struct direct_fs *d = arg;

	UNDER(d, ino, true,
	      cfs_fs_xattr_set(d->inner, ino, name, value, value_bytes, flags,
			       err));
}

static int fs_xattr_remove(void *arg, uint64_t ino, const char *name,
			   struct cfs_err *err)
{
	struct direct_fs *d = arg;

	UNDER(d, ino, true, cfs_fs_xattr_remove(d->inner, ino, name, err));
}

static int fs_read(void *arg, uint64_t ino, uint64_t offset_bytes, void *buf,
		   size_t length_bytes, size_t *ret_bytes, struct cfs_err *err)
{
	struct direct_fs *d = arg;

	UNDER(d, ino, false,
	      cfs_fs_read(d->inner, ino, offset_bytes, buf, length_bytes,
			  ret_bytes, err));
}

static int fs_write(void *arg, uint64_t ino, uint64_t offset_bytes,
		    const void *buf, size_t length_bytes, size_t *ret_bytes,
		    struct cfs_err *err)
{
	struct direct_fs *d = arg;

	if (ret_bytes)
		*ret_bytes = 0;
	UNDER(d, ino, true,
	      cfs_fs_write(d->inner, ino, offset_bytes, buf, length_bytes,
			   ret_bytes, err));
}

static int fs_truncate(void *arg, uint64_t ino, uint64_t size_bytes,
		       struct cfs_err *err)
{
	struct direct_fs *d = arg;

	UNDER(d, ino, true, cfs_fs_truncate(d->inner, ino, size_bytes, err));
}

static int fs_punch_hole(void *arg, uint64_t ino, uint64_t offset_bytes,
			 uint64_t length_bytes, struct cfs_err *err)
{
	struct direct_fs *d = arg;

	UNDER(d, ino, true,
	      cfs_fs_punch_hole(d->inner, ino, offset_bytes, length_bytes,
				err));
}

static int fs_zero_range(void *arg, uint64_t ino, uint64_t offset_bytes,
			 uint64_t length_bytes, bool keep_size,
			 struct cfs_err *err)
{
	struct direct_fs *d = arg;

	UNDER(d, ino, true,
	      cfs_fs_zero_range(d->inner, ino, offset_bytes, length_bytes,
				keep_size, err));
}

static int fs_seek(void *arg, uint64_t ino, uint64_t offset_bytes, bool data,
		   uint64_t *ret_offset_bytes, struct cfs_err *err)
{
	struct direct_fs *d = arg;

	UNDER(d, ino, false,
	      cfs_fs_seek(d->inner, ino, offset_bytes, data, ret_offset_bytes,
			  err));
}

/* ---- names --------------------------------------------------------------- */

/* An inode's number leads to its own lease, where that is asked for too. */
static int fs_lookup(void *arg, uint64_t dir_ino, const void *name,
		     size_t name_bytes, uint64_t *ret_ino,
		     struct cfs_inode *ret_inode, struct cfs_err *err)
{
	struct cfs_tree_want wants[2] = { { dir_ino, false }, { 0, false } };
	struct cfs_inode *inode;
	struct direct_fs *d = arg;
	struct cfs_tree_pins pins;
	bool has_none;
	uint64_t ino;
	int r;

	for (;;) {
		r = direct_begin(d, wants, 2, &pins, err);
		if (r < 0)
			return r;
		ino = 0;
		has_none = pins.has_gate;
		inode = pins.is_whole || has_none || wants[1].ino ? ret_inode
								  : NULL;
		DIRECT_RUN(d, r,
			   cfs_fs_lookup(d->inner, dir_ino, name, name_bytes,
					 &ino, inode, err));
		r = direct_end(d, &pins, r, false, err);
		if (r < 0)
			return r;
		if (!ret_inode || (inode && (pins.is_whole || has_none ||
					     ino == wants[1].ino)))
			break;
		wants[1].ino = ino;
	}
	*ret_ino = ino;
	return 0;
}

static int fs_path_of(void *arg, uint64_t ino, struct cfs_buf *ret,
		      struct cfs_err *err)
{
	struct direct_fs *d = arg;
	int r = 0;

	if (d->locks && cfs_container_is_client(d->view.container) &&
	    cfs_container_is_writable(d->view.container))
		r = cfs_container_refresh(d->view.container, err);
	if (r == 0)
		DIRECT_RUN(d, r, cfs_fs_path_of(d->inner, ino, ret, err));
	return r;
}

/* ---- life ---------------------------------------------------------------- */

static void direct_free(struct direct_fs *d, bool is_settled)
{
	cfs_tree_locks_free(d->locks, is_settled);
	cfs_fs_close(d->inner);
	pthread_rwlock_destroy(&d->watch_lock);
	pthread_rwlock_destroy(&d->gate);
	free(d);
}

/* What was done is everybody's before the leases go.  Where that fails, whoever
 * opened it may have our log read; else they do not go. */
static void fs_close(void *arg)
{
	struct direct_fs *d = arg;
	int r = 0;

	if (d->locks && cfs_tree_locks_has_written(d->locks)) {
		r = lease_settle(d, NULL);
		if (r < 0 && d->upper.settle)
			r = d->upper.settle(d->upper.arg, NULL);
	}
	direct_free(d, r == 0);
}

static const struct cfs_fs_ops direct_ops = {
	.close = fs_close,
	.open_ino = direct_open_ino,
	.close_ino = direct_close_ino,
	.sync = fs_sync,
	.statfs = fs_statfs,
	.getattr = fs_getattr,
	.block_count = fs_block_count,
	.setattr = fs_setattr,
	.lookup = fs_lookup,
	.path_of = fs_path_of,
	.create_with = direct_create_with,
	.create_nameless = direct_create_nameless,
	.name = direct_name,
	.link = direct_link,
	.remove = direct_remove,
	.rename = direct_rename,
	.readdir = fs_readdir,
	.readlink = fs_readlink,
	.xattr_get = fs_xattr_get,
	.xattr_set = fs_xattr_set,
	.xattr_list = fs_xattr_list,
	.xattr_remove = fs_xattr_remove,
	.read = fs_read,
	.write = fs_write,
	.truncate = fs_truncate,
	.punch_hole = fs_punch_hole,
	.zero_range = fs_zero_range,
	.seek = fs_seek,
};

static int make_locks(struct direct_fs *d,
		      const struct cfs_tree_locks_config *config,
		      struct cfs_tree_locks **ret, struct cfs_err *err)
{
	struct cfs_tree_locks_config own = *config;

	d->upper = config->ops;
	own.ops = (struct cfs_tree_lock_ops){
		.acquire = lease_acquire,
		.settle = lease_settle,
		.fresh = lease_fresh,
		.lost = lease_lost,
		.will_wait = lease_will_wait,
		.leaves = lease_leaves,
		.arg = d,
	};
	if (cfs_container_is_client(d->view.container))
		own.ops.published = lease_published;
	return cfs_tree_locks_new(&own, ret, err);
}

int cfs_direct_fs_open(struct cfs_fs *inner, const struct cfs_view *view,
		       const struct cfs_tree_locks_config *config,
		       struct cfs_fs **ret, struct cfs_err *err)
{
	struct direct_fs *d = calloc(1, sizeof(*d));
	int r = 0;

	if (!d) {
		cfs_fs_close(inner);
		return cfs_err_set(err, -ENOMEM, "out of memory");
	}
	pthread_rwlock_init(&d->watch_lock, NULL);
	pthread_rwlock_init(&d->gate, NULL);
	d->inner = inner;
	d->view = *view;
	if (config)
		r = make_locks(d, config, &d->locks, err);
	if (r == 0)
		r = cfs_fs_open_with(&direct_ops, d, cfs_fs_root_ino(inner),
				     cfs_fs_is_writable(inner), ret, err);
	if (r < 0)
		direct_free(d, true);
	return r;
}

/* ---- leases from now on -------------------------------------------------- */

struct counting {
	struct cfs_tree_locks *locks;
	bool has_one;
	struct cfs_err *err;
};

static int count_open(void *arg, uint64_t ino, uint32_t count)
{
	struct counting *n = arg;
	int r = 0;

	n->has_one = true;
	while (r == 0 && count-- > 0)
		r = cfs_tree_locks_opened(n->locks, ino, n->err);
	return r;
}

int cfs_direct_fs_begin_leases(struct cfs_fs *fs,
			       const struct cfs_tree_locks_config *config,
			       struct cfs_err *err)
{
	struct direct_fs *d = cfs_fs_ops_arg(fs, &direct_ops);
	const struct cfs_tree_want root = { cfs_fs_root_ino(fs), false };
	struct counting n = { .err = err };
	struct cfs_tree_pins pins;
	int r;

	pthread_rwlock_wrlock(&d->gate);
	r = make_locks(d, config, &n.locks, err);
	if (r == 0)
		r = cfs_fs_each_open(d->inner, count_open, &n);
	if (r < 0)
		cfs_tree_locks_free(n.locks, true);
	else
		__atomic_store_n(&d->locks, n.locks, __ATOMIC_RELEASE);
	pthread_rwlock_unlock(&d->gate);
	if (r < 0 || !n.has_one)
		return r;
	/* The whole tree, whose giving up makes those known to all. */
	r = cfs_tree_locks_get(d->locks, &root, 1, &pins, err);
	if (r == 0)
		cfs_tree_locks_put(d->locks, &pins, false);
	return r;
}

struct cfs_tree_locks *cfs_direct_fs_locks(struct cfs_fs *fs)
{
	const struct direct_fs *d = cfs_fs_ops_arg(fs, &direct_ops);

	return d ? d->locks : NULL;
}

/* ---- keeping ------------------------------------------------------------- */

void cfs_direct_fs_watch(struct cfs_fs *fs, const struct cfs_io_watch *watch)
{
	struct direct_fs *d = cfs_fs_ops_arg(fs, &direct_ops);

	if (!d)
		return;
	pthread_rwlock_wrlock(&d->watch_lock);
	d->watch = watch ? *watch : (struct cfs_io_watch){ .arg = NULL };
	pthread_rwlock_unlock(&d->watch_lock);
}

bool cfs_direct_fs_may_keep(struct cfs_fs *fs, uint64_t *ret_serial,
			    uint64_t *ret_ns)
{
	const struct direct_fs *d = cfs_fs_ops_arg(fs, &direct_ops);

	return d && d->locks &&
	       cfs_tree_locks_is_whole(d->locks, ret_serial, ret_ns);
}
