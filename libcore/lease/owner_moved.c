/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Clients that were handed over with a container.
 *
 * The other owner may be gone before one of them has found it.  It comes back
 * then with an id and an epoch that are ours, and nobody has it in a record if
 * it had only leases: so we keep who they are until the container is home.
 * Before that it is told to look again, for it cannot know that the container
 * is on its way; in the container's grace it reclaims; behind it it has lost
 * what it had.
 */
#include "lease/owner_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct owner_moved *moved_of(struct cfs_link_node *l)
{
	return CFS_CONTAINER_OF(l, struct owner_moved, link);
}

static struct owner_moved *find(const struct cfs_owner *owner, uint64_t id)
{
	CFS_LIST_EACH(l, &((struct cfs_owner *)owner)->moved)
	if (moved_of(l)->client_id == id)
		return moved_of(l);
	return NULL;
}

/* Without memory it begins anew when it comes back. */
static void remember(struct cfs_owner *owner, const struct owner_client *c,
		     uint64_t container)
{
	struct owner_moved *moved = find(owner, c->id);

	if (!moved) {
		moved = calloc(1, sizeof(*moved));
		if (!moved)
			return;
		cfs_list_add_tail(&owner->moved, &moved->link);
	}
	moved->client_id = c->id;
	moved->container = container;
	memcpy(moved->secret, c->secret, sizeof(moved->secret));
}

int cfs_owner_moved(struct cfs_owner *owner, uint64_t id, uint64_t container)
{
	struct owner_client *c;
	struct owner_peer *peer;

	owner_enter(owner);
	c = owner_client_find(owner, id);
	if (c) {
		peer = owner_peer_find(owner, c->peer);
		if (peer)
			peer->is_moved = true;
		remember(owner, c, container);
		owner_client_stop(owner, c);
		owner_event(owner, CFS_EVENT_LEAVE, c, NULL);
		owner_client_end(owner, c, CFS_OWNER_END_MOVED);
	}
	owner_leave(owner);
	return c ? 0 : -ENOENT;
}

uint64_t owner_moved_with(const struct cfs_owner *owner,
			  const struct cfs_msg_hello *m)
{
	const struct owner_moved *moved = m->client_id
						  ? find(owner, m->client_id)
						  : NULL;

	return moved && memcmp(moved->secret, m->secret,
			       sizeof(moved->secret)) == 0
		       ? moved->container
		       : 0;
}

bool owner_moved_is(const struct cfs_owner *owner, uint64_t client,
		    const uint8_t *secret)
{
	static const uint8_t none[CFS_LEASE_SECRET_BYTES];
	const struct owner_moved *moved = find(owner, client);

	return moved &&
	       (memcmp(none, secret, sizeof(none)) == 0 ||
		memcmp(moved->secret, secret, sizeof(moved->secret)) == 0);
}

void owner_moved_forget(struct cfs_owner *owner, uint64_t container)
{
	CFS_LIST_EACH(l, &owner->moved)
	{
		struct owner_moved *moved = moved_of(l);

		if (container && moved->container != container)
			continue;
		cfs_list_del(l);
		free(moved);
	}
}

void cfs_owner_is_home(struct cfs_owner *owner, uint64_t container)
{
	if (!owner_grace_of(owner, container))
		owner_moved_forget(owner, container);
}
