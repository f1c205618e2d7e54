/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Clients of an owner that go to the next one with a container, as bytes.
 *
 * Most come back by themselves, with their word, and reclaim what they have:
 * of those the list says only who they are, so that the next owner knows when
 * they are all there.  A lease that stands by itself (CFS_HELLO_STANDING) has
 * nobody who would come: it goes with the list, and is held at the next owner
 * from its first moment on.
 *
 * A list that lacks somebody, for whatever reason, says that: then a whole
 * period is waited for.
 */
#pragma once

#include "base/buf.h"
#include "base/vec.h"
#include "lease/owner.h"

struct cfs_handed_lease {
	uint64_t lease_id;
	uint64_t key;
	uint64_t generation;
	uint32_t mode;
	bool is_recallable;
	struct cfs_lock_resource resource;
};

struct cfs_handed {
	struct cfs_owner_known known; /* container is 0 */
	char name[CFS_MSG_NAME_BYTES];
	uint32_t hello_flags;
	uint64_t period_ns; /* T, as it was told */
	/* The kernel says that it is that process (cfs_owner_see). */
	bool is_seen;
	CFS_VEC(struct cfs_handed_lease) leases; /* if it stands by itself */
};

struct cfs_handed_list {
	CFS_VEC(struct cfs_handed) v;
	bool is_all; /* there is nobody else */
	/* Of process numbers, in which those that are seen are; 0: none. */
	uint64_t space;
	/* Not in the bytes: connections of those who went (cfs_owner_hand). */
	CFS_VEC(uint64_t) peers;
};

void cfs_handed_list_donep(struct cfs_handed_list *list);
/* Appends.  -ENOMEM. */
int cfs_handed_list_pack(const struct cfs_handed_list *list,
			 struct cfs_buf *buf);
/* @ret is empty before.  -EPROTO, -ENOMEM. */
int cfs_handed_list_unpack(const void *data, size_t bytes,
			   struct cfs_handed_list *ret, struct cfs_err *err);

/* The caller's own clients, which stay. */
typedef bool (*cfs_hand_skips_fn)(void *arg, uint64_t client);

/*
 * May all who have a lease in @container, or wait for one, go with it?  Those
 * of whom @skips says so are not looked at.  *ret_count: how many there are.
 * -EBUSY, in words: one has something else too, is about to end, or works under
 * somebody else's lease and has nobody who could reclaim that.
 */
int cfs_owner_may_hand(struct cfs_owner *owner, uint64_t container,
		       cfs_hand_skips_fn skips, void *arg, uint64_t *ret_count,
		       struct cfs_err *err);
/*
 * Those go (cfs_owner_moved), and stand in @list.  Who it has no room for goes
 * all the same, and list->is_all is false.
 */
void cfs_owner_hand(struct cfs_owner *owner, uint64_t container,
		    cfs_hand_skips_fn skips, void *arg,
		    struct cfs_handed_list *list);
/*
 * All clients, as they are, for who has what is owned here next; nothing is
 * changed.  list->is_all is false if somebody may believe in a lease that he
 * is not to reclaim, or was not heard of yet.
 */
void cfs_owner_hand_all(struct cfs_owner *owner, cfs_hand_skips_fn skips,
			void *arg, struct cfs_handed_list *list);
/*
 * One of another owner's list, in a grace of @container (0: of all).  Of one
 * that stands by itself only what it has of @container is taken, or, if that
 * is 0, all.
 * 0; -EINVAL: it cannot be known; -EEXIST: it is; -ENOMEM.
 */
int cfs_owner_take_handed(struct cfs_owner *owner, uint64_t container,
			  const struct cfs_handed *handed, struct cfs_err *err);

/* The kernel says that the client behind @peer is the process @pid. */
void cfs_owner_see(struct cfs_owner *owner, uint64_t peer, uint64_t pid);
