/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is due when: one heap.  A client's place in it is not moved when it
 * renews, only looked at again when it comes up: renewing is one assignment.
 */
#include "lease/owner_priv.h"

#include <assert.h>
#include <errno.h>

static void heap_put(struct cfs_owner *owner, size_t place,
		     struct owner_timer *t)
{
	owner->heap[place - 1] = t;
	t->place = place;
}

static struct owner_timer *heap_at(const struct cfs_owner *owner, size_t place)
{
	return owner->heap[place - 1];
}

static void heap_up(struct cfs_owner *owner, struct owner_timer *t)
{
	size_t place = t->place;

	while (place > 1 && heap_at(owner, place / 2)->at_ns > t->at_ns) {
		heap_put(owner, place, heap_at(owner, place / 2));
		place /= 2;
	}
	heap_put(owner, place, t);
}

static void heap_down(struct cfs_owner *owner, struct owner_timer *t)
{
	size_t place = t->place;

	for (;;) {
		size_t child = 2 * place;

		if (child > owner->heap_count)
			break;
		if (child < owner->heap_count &&
		    heap_at(owner, child + 1)->at_ns <
			    heap_at(owner, child)->at_ns)
			child++;
		if (heap_at(owner, child)->at_ns >= t->at_ns)
			break;
		heap_put(owner, place, heap_at(owner, child));
		place = child;
	}
	heap_put(owner, place, t);
}

int owner_timer_reserve(struct cfs_owner *owner)
{
	size_t need = (size_t)owner->client_count + owner->lease_count +
		      owner->grace_count + 2;
	size_t room = owner->heap_room ? 2 * owner->heap_room : 64;
	struct owner_timer **heap;

	if (need <= owner->heap_room)
		return 0;
	heap = reallocarray(owner->heap, room, sizeof(struct owner_timer *));
	if (!heap)
		return -ENOMEM;
	owner->heap = heap;
	owner->heap_room = room;
	return 0;
}

static void timer_remove(struct cfs_owner *owner, struct owner_timer *timer)
{
	struct owner_timer *last = heap_at(owner, owner->heap_count);
	size_t place = timer->place;

	owner->heap_count--;
	timer->place = 0;
	if (last == timer)
		return;
	heap_put(owner, place, last);
	heap_up(owner, last);
	heap_down(owner, last);
}

void owner_timer_set(struct cfs_owner *owner, struct owner_timer *timer,
		     uint64_t at_ns)
{
	timer->at_ns = at_ns;
	if (at_ns == UINT64_MAX) {
		if (timer->place)
			timer_remove(owner, timer);
		return;
	}
	if (!timer->place) {
		assert(owner->heap_count < owner->heap_room);
		owner->heap_count++;
		heap_put(owner, owner->heap_count, timer);
	}
	heap_up(owner, timer);
	heap_down(owner, timer);
}

void owner_run_due(struct cfs_owner *owner)
{
	while (owner->heap_count) {
		struct owner_timer *t = heap_at(owner, 1);

		if (!cfs_period_is_over(t->at_ns, owner->now_ns))
			return;
		/* Each of these moves its timer or takes it out. */
		switch (t->kind) {
		case OWNER_TIMER_CLIENT:
			owner_client_due(
				owner, CFS_CONTAINER_OF(t, struct owner_client,
							timer));
			break;
		case OWNER_TIMER_LEASE:
			owner_lease_due(
				owner,
				CFS_CONTAINER_OF(t, struct owner_lease, timer));
			break;
		case OWNER_TIMER_GRACE:
			owner_grace_due(
				owner,
				CFS_CONTAINER_OF(t, struct owner_grace, timer));
			break;
		}
	}
}
