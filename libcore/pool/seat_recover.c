/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A pool of one host whose seat is lost: the roots of container 0 are looked
 * for in the slices that say that they are its, and of all that are there the
 * newest ones are told.  Who may hold the pool the kernel's lock says there;
 * what else stood in the seat is made up so that whoever opens the pool is
 * careful.
 *
 * Not on shared pools, where only the seats tell who has the pool and whose
 * root counts; nor on mirrors, which have a seat on each device and in it which
 * of them was left out.
 */
#include "pool/holder_priv.h"

#include "base/cleanup.h"
#include "ondisk/geometry.h"
#include "ondisk/slice_header.h"

#include <stdlib.h>

/* Above all that may have been used since the root was written. */
#define EPOCHS_BEYOND 1000u

struct found_root {
	struct cfs_place place;
	uint64_t seq;
	uint32_t epoch;
};

struct search {
	const struct cfs_devset *set;
	struct cfs_slice_geometry geo;
	struct cfs_page_disk *page;
	struct found_root best[CFS_ROOT_PLACES_MAX]; /* newest first */
};

/* Container 0's logical slice in this one.  False: it is not its. */
static bool is_of_c0(struct search *s, uint32_t device, uint64_t slice,
		     uint64_t *ret_lslice)
{
	const struct cfs_label *label = cfs_devset_label(s->set, device);

	for (unsigned int slot = 0; slot < 2; slot++) {
		const struct cfs_page_expect expect = {
			.kind = CFS_PAGE_SLICE,
			.pool_lo = cfs_pool_lo(label->pool_uuid),
			.address = label->slices_offset_bytes +
				   slice * label->slice_bytes +
				   (uint64_t)CFS_PAGE_BYTES *
					   cfs_geometry_header_block(&s->geo,
								     slot),
		};
		struct cfs_slice_header h;
		struct cfs_page head;

		if (cfs_dev_read(cfs_devset_dev(s->set, device), expect.address,
				 s->page, sizeof(*s->page), NULL) < 0 ||
		    cfs_page_unpack(s->page, &expect, &head, NULL) < 0 ||
		    cfs_slice_header_unpack(s->page, &h, NULL) < 0 ||
		    h.container_id != 0 || h.state != CFS_SLICE_OWNED)
			continue;
		*ret_lslice = h.lslice;
		return true;
	}
	return false;
}

static void keep(struct search *s, const struct found_root *found)
{
	struct found_root next = *found;

	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++) {
		const struct found_root here = s->best[i];

		if (here.place.is_used && here.seq >= next.seq)
			continue;
		s->best[i] = next;
		next = here;
		if (!next.place.is_used)
			break;
	}
}

/* The newer one of the two root pages that may stand there. */
static void look_at(struct search *s, uint32_t device, uint64_t slice,
		    uint64_t lslice)
{
	const struct cfs_label *label = cfs_devset_label(s->set, device);
	struct found_root found = {
		.place = { .device_index = device, .is_used = true },
	};

	for (unsigned int slot = 0; slot < 2; slot++) {
		const uint32_t block = s->geo.data_start + slot;
		const struct cfs_page_expect expect = {
			.kind = CFS_PAGE_ROOT,
			.pool_lo = cfs_pool_lo(label->pool_uuid),
			.address = cfs_vaddr(lslice, block),
		};
		struct cfs_page head;

		found.place.vaddr[slot] = expect.address;
		found.place.slot_bytes[slot] = label->slices_offset_bytes +
					       slice * label->slice_bytes +
					       (uint64_t)block * CFS_PAGE_BYTES;
		if (cfs_dev_read(cfs_devset_dev(s->set, device),
				 found.place.slot_bytes[slot], s->page,
				 sizeof(*s->page), NULL) < 0 ||
		    cfs_page_unpack(s->page, &expect, &head, NULL) < 0 ||
		    head.seq <= found.seq)
			continue;
		found.seq = head.seq;
		found.epoch = head.epoch;
	}
	if (found.seq > 0)
		keep(s, &found);
}

static void look_everywhere(struct search *s)
{
	for (uint32_t d = 0; d < cfs_devset_count(s->set); d++) {
		uint64_t count = cfs_devset_slice_count(s->set, d);
		uint64_t lslice;

		if (!cfs_devset_dev(s->set, d))
			continue;
		for (uint64_t i = 0; i < count; i++)
			if (is_of_c0(s, d, i, &lslice))
				look_at(s, d, i, lslice);
	}
}

int cfs_seat_recover(const struct cfs_devset *set, struct cfs_seat_record *ret,
		     struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep)
	struct cfs_page_disk *page = cfs_dev_buf_alloc(sizeof(*page));
	struct search s = { .set = set, .page = page };
	/* Nobody's, not closed; clients may come back. */
	struct cfs_seat seat = { .state = CFS_SEAT_OPEN, .has_clients = true };
	int r;

	if (!page)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	r = cfs_slice_geometry_init(cfs_devset_label(set, 0)->slice_bytes,
				    &s.geo, err);
	if (r < 0)
		return r;
	look_everywhere(&s);
	if (!s.best[0].place.is_used)
		return cfs_err_set(err, -EUCLEAN,
				   "%s: the seat is lost, and no "
				   "root was found",
				   cfs_devset_path(set, 0));
	/* A crash leaves the last one in some of its places only. */
	for (unsigned int i = 0; i < CFS_ROOT_PLACES_MAX; i++)
		if (s.best[i].place.is_used &&
		    s.best[i].seq + 1 >= s.best[0].seq)
			seat.roots[i] = s.best[i].place;
	seat.epoch = s.best[0].epoch + EPOCHS_BEYOND;
	*ret = (struct cfs_seat_record){ .seat = seat };
	return 0;
}
