/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of direct_fs share. */
#pragma once

#include "session/direct_fs.h"
#include "session/session.h"

#include "tree/container_client.h"
#include "volume/fs_ops.h"

#include <pthread.h>

struct direct_fs {
	struct cfs_fs *inner;
	struct cfs_view view;
	/* NULL: a snapshot, or nobody can ask for leases yet; atomic.  The gate
	 * is held by calls that began without. */
	struct cfs_tree_locks *locks;
	pthread_rwlock_t gate;
	struct cfs_tree_lock_ops upper; /* of whoever opened it */
	pthread_rwlock_t watch_lock;
	struct cfs_io_watch watch; /* changes NULL: nobody watches */
};

/* An operation met an old view: true: once more. */
bool direct_again(struct direct_fs *d, unsigned int *tries, int *r,
		  struct cfs_err *err);

/* One call of the tree itself, as often as the view is too old for it. */
#define DIRECT_RUN(d, r, call)                                                 \
	do {                                                                   \
		unsigned int tries_ = 0;                                       \
                                                                               \
		do                                                             \
			(r) = (call);                                          \
		while (direct_again(d, &tries_, &(r), err));                   \
	} while (0)

/* True: there are no leases, and none are taken until direct_ungate. */
bool direct_gate(struct direct_fs *d);
void direct_ungate(struct direct_fs *d);
int direct_begin(struct direct_fs *d, const struct cfs_tree_want *wants,
		 size_t count, struct cfs_tree_pins *ret, struct cfs_err *err);
/* Returns @r, or that the leases were lost meanwhile. */
int direct_end(struct direct_fs *d, struct cfs_tree_pins *pins, int r,
	       bool writes, struct cfs_err *err);

/* direct_fs_name.c */
int direct_create_with(void *arg, uint64_t dir_ino, const void *name,
		       size_t name_bytes, const struct cfs_fs_spec *spec,
		       uint64_t *ret_ino, struct cfs_inode *ret_inode,
		       struct cfs_err *err);
int direct_create_nameless(void *arg, uint64_t dir_ino,
			   const struct cfs_fs_spec *spec, uint64_t *ret_ino,
			   struct cfs_err *err);
int direct_name(void *arg, uint64_t ino, uint64_t dir_ino, const void *name,
		size_t name_bytes, struct cfs_err *err);
int direct_link(void *arg, uint64_t ino, uint64_t dir_ino, const void *name,
		size_t name_bytes, struct cfs_err *err);
int direct_remove(void *arg, uint64_t dir_ino, const void *name,
		  size_t name_bytes, bool is_rmdir, struct cfs_err *err);
int direct_rename(void *arg, uint64_t old_dir_ino, const void *old_name,
		  size_t old_name_bytes, uint64_t new_dir_ino,
		  const void *new_name, size_t new_name_bytes, uint32_t flags,
		  struct cfs_err *err);
int direct_open_ino(void *arg, uint64_t ino, struct cfs_err *err);
int direct_close_ino(void *arg, uint64_t ino, struct cfs_err *err);
