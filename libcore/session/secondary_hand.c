/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Clients that come to a secondary with its container, and leave with it: what
 * its lease table and the manager's tell each other (lease/hand.h).
 *
 * Nothing here has to succeed: who is not told of is waited for.
 */
#include "session/secondary_priv.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/clock.h"

#include <string.h>

#define PATIENCE_NS (10 * CFS_NS_PER_S)
#define PIECE_BYTES (32u * 1024)

static struct cfs_delegate_request request_of(const struct cfs_secondary *sec)
{
	return (struct cfs_delegate_request){
		.container = sec->container,
		.epoch = sec->epoch,
	};
}

void secondary_ask_given(struct cfs_secondary *sec)
{
	CFS_CLEANUP(cfs_buf_donep) struct cfs_buf reply = CFS_BUF_INIT;
	const struct cfs_delegate_request q = request_of(sec);

	if (secondary_call(sec, CFS_DELEGATE_CLIENTS, &q, PATIENCE_NS, &reply,
			   NULL) == 0)
		(void)cfs_handed_list_unpack(reply.data, reply.bytes,
					     &sec->given, NULL);
}

bool cfs_secondary_knows_clients(const struct cfs_secondary *sec)
{
	return sec->given.is_all;
}

void cfs_secondary_expect(struct cfs_secondary *sec, struct cfs_owner *owner)
{
	int r;

	for (size_t i = 0; i < sec->given.v.count; i++) {
		/* That it cannot be known is no reason to forget the others:
		 * its grace is there. */
		r = cfs_owner_take_handed(owner, 0, &sec->given.v.items[i],
					  NULL);
		if (r < 0 && r != -EEXIST)
			sec->given.is_all = false;
	}
	if (sec->given.is_all)
		cfs_owner_settle_grace(owner);
}

void cfs_secondary_leave(struct cfs_secondary *sec,
			 const struct cfs_handed_list *list)
{
	sec->left.bytes = 0;
	if (cfs_handed_list_pack(list, &sec->left) < 0)
		sec->left.bytes = 0;
}

void secondary_tell_left(struct cfs_secondary *sec)
{
	struct cfs_delegate_request q = request_of(sec);
	size_t at = 0;
	int r = 0;

	while (r == 0 && at < sec->left.bytes) {
		q.value = at;
		q.data = sec->left.data + at;
		q.data_bytes = CFS_MIN(sec->left.bytes - at,
				       (size_t)PIECE_BYTES);
		at += q.data_bytes;
		q.flags = at == sec->left.bytes ? CFS_DELEGATE_IS_LAST : 0;
		r = secondary_call(sec, CFS_DELEGATE_LEFT, &q, PATIENCE_NS,
				   NULL, NULL);
	}
}
