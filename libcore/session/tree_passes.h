/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The manager's memory of which locks of trees passed from one client to
 * another, so that whoever gets one knows whether its view is old: the
 * generation of a lease is the number of a commit, and a view of that commit
 * or a later one shows all that the former holders did.
 *
 * It is asked once for each grant (struct cfs_owner_ops, generation).  A holder
 * has given back what it did before its lock goes, so the number of the last
 * commit, at the moment of the grant, is late enough; a lock that nobody else
 * has written under gets an older one, and its holder needs no new view.
 *
 * What is forgotten, since there is too much or the manager is a new one, is
 * taken as passed.
 *
 * Thread safety: the caller's lock.
 */
#pragma once

#include "lease/lock.h"
#include "lease/owner.h"
#include "tree/container.h"

struct cfs_tree_passes;

/* @knows_all: no client of a former manager has any locks. */
int cfs_tree_passes_new(bool knows_all, struct cfs_tree_passes **ret,
			struct cfs_err *err);
void cfs_tree_passes_free(struct cfs_tree_passes *p);

/* Another process had the container: what passed there is not known. */
void cfs_tree_passes_forget(struct cfs_tree_passes *p, uint64_t container);

/* @client gets @resource in @mode; @root_seq: of the container's last commit.
 */
uint64_t cfs_tree_passes_granted(struct cfs_tree_passes *p, uint64_t client,
				 const struct cfs_lock_resource *resource,
				 uint32_t mode, uint64_t root_seq);
/* Did another than @client ever get this one? */
bool cfs_tree_passes_has_other(const struct cfs_tree_passes *p, uint64_t client,
			       const struct cfs_lock_resource *resource);

/*
 * The check of what a client gives back in one fold, or in its log, of one
 * tree. {0} has nothing to be freed.
 */
struct cfs_tree_rules {
	struct cfs_owner *owner;
	const struct cfs_tree_passes *passes;
	struct cfs_container *container; /* the manager's */
	uint64_t client;                 /* of the lease table */
	uint64_t container_id, volume;
	struct cfs_tree_judged *judged; /* inodes that were asked about */
};

/*
 * May it have changed this inode?  It has X on the whole tree or on the inode;
 * or it makes the inode, or has made it and nobody else ever had a lock on it.
 * Within the check of a fold, under the lock of the lease table.
 */
bool cfs_tree_rules_may(struct cfs_tree_rules *rules, uint16_t branch,
			uint64_t ino);
void cfs_tree_rules_donep(struct cfs_tree_rules *rules);
