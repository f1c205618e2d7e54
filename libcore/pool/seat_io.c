// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Seats on devices.
 *
 * Order of writing, record with seq n:
 *  1. it goes to slot n & 1 of each device that carries seats; slot 1 - (n & 1)
 *     holds n - 1, which a flush has covered;
 *  2. flush; only then is the record said to stand, and n + 1 may be written.
 * A write that failed is repeated under the same n: the other slot stays.
 * A device that is behind (it took part only in part of that, or was away) is
 * first given the record that counts, before anything newer is written.
 */
#include "pool/holder_priv.h"

#include "base/cleanup.h"

#include <inttypes.h>
#include <stdlib.h>

#define SEAT 0u

struct one { /* what stands on one device */
	struct cfs_seat seat;
	uint64_t seq;
	bool is_valid;
};

static bool is_absent(const struct cfs_seat *seat, uint32_t device_index)
{
	uint32_t i;

	for (i = 0; i < seat->absent_count; i++)
		if (seat->absent[i].device_index == device_index)
			return true;
	return false;
}

/* -------------------------------------------------------------- reading */

static int read_slot(struct cfs_dev *dev, const struct cfs_label *label,
		     unsigned int slot, struct cfs_page_disk *disk,
		     struct one *ret, struct cfs_err *err)
{
	const struct cfs_page_expect expect = {
		.kind = CFS_PAGE_SEAT,
		.pool_lo = cfs_pool_lo(label->pool_uuid),
		.owner = label->device_index,
		.address = cfs_seat_offset_bytes(SEAT, slot),
	};
	struct cfs_page page = { 0 };
	int r;

	r = cfs_dev_read(dev, expect.address, disk, sizeof(*disk), err);
	if (r == 0)
		r = cfs_page_unpack(disk, &expect, &page, err);
	if (r == 0 && (page.seq & 1) != slot)
		r = cfs_err_set(err, -EUCLEAN, "page: in the wrong slot");
	if (r == 0)
		r = cfs_seat_unpack(disk, &ret->seat, err);
	if (r == 0 && ret->seat.epoch != page.epoch)
		r = cfs_err_set(err, -EUCLEAN, "seat: bad epoch");
	if (r == 0)
		ret->seq = page.seq;
	return r;
}

int cfs_seat_read_one(struct cfs_dev *dev, const struct cfs_label *label,
		      struct cfs_seat *ret, uint64_t *ret_seq,
		      struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) void *page = cfs_dev_buf_alloc(CFS_PAGE_BYTES);
	struct cfs_err why = CFS_ERR_INIT, worst = CFS_ERR_INIT;
	struct one best = { .is_valid = false }, one;
	unsigned int slot;

	if (!page)
		return cfs_err_errno(err, -ENOMEM, "%s", cfs_dev_name(dev));
	for (slot = 0; slot < 2; slot++) {
		if (read_slot(dev, label, slot, page, &one, &why) == 0) {
			if (!best.is_valid || one.seq > best.seq)
				best = one;
			best.is_valid = true;
		} else if (!worst.code || worst.code == -EUCLEAN) {
			worst = why; /* newer, unreadable: more telling */
		}
	}
	if (!best.is_valid)
		return cfs_err_set(err, worst.code, "%s: seat: %s",
				   cfs_dev_name(dev), worst.msg);
	*ret = best.seat;
	*ret_seq = best.seq;
	return 0;
}

/*
 * How many devices, from the first, may carry a record.  On a mirror others
 * take the place of those that are missing; in any other pool nothing is ever
 * missing.
 */
static uint32_t reader_count(const struct cfs_devset *set)
{
	uint32_t count = cfs_devset_count(set), index, used = 0;

	if (cfs_devset_is_mirror(set))
		return count;
	for (index = 0; index < count && used < CFS_SEAT_DEVICES; index++)
		used += !cfs_devset_is_removed(set, index);
	return index;
}

/* Two that each went on without the other cannot be told apart by age. */
static int check_halves(const struct cfs_devset *set, const struct one *ones,
			uint32_t count, struct cfs_err *err)
{
	uint32_t i, j;

	for (i = 0; i < count; i++)
		for (j = 0; ones[i].is_valid && j < i; j++)
			if (ones[j].is_valid && is_absent(&ones[i].seat, j) &&
			    is_absent(&ones[j].seat, i))
				return cfs_err_set(
					err, -EUCLEAN,
					"%s and %s "
					"were each used without the other: "
					"give one up with slicectl replace -f",
					cfs_devset_path(set, j),
					cfs_devset_path(set, i));
	return 0;
}

/* @ones: as many as reader_count, zeroed. */
static int read_all(const struct cfs_devset *set, struct one *ones,
		    uint32_t *ret_best, struct cfs_err *err)
{
	uint32_t count = reader_count(set), index, best = count;
	struct cfs_err why = CFS_ERR_INIT, worst = CFS_ERR_INIT;
	int r;

	for (index = 0; index < count; index++) {
		struct cfs_dev *dev = cfs_devset_dev(set, index);
		struct one *one = &ones[index];

		if (!dev)
			continue;
		r = cfs_seat_read_one(dev, cfs_devset_label(set, index),
				      &one->seat, &one->seq, &why);
		one->is_valid = r == 0;
		if (r < 0 && (!worst.code || worst.code == -EUCLEAN))
			worst = why;
		if (r == 0 && (best == count || one->seq > ones[best].seq))
			best = index;
	}
	if (best == count) {
		if (!worst.code)
			return cfs_err_set(err, -EIO,
					   "no device with a seat "
					   "is present");
		return cfs_err_set(err, worst.code, "%s", worst.msg);
	}
	*ret_best = best;
	return check_halves(set, ones, count, err);
}

int cfs_seat_none(const struct cfs_devset *set, struct cfs_err *err)
{
	return cfs_err_set(err, -EUCLEAN,
			   "%s: no seat is good, so it cannot be "
			   "known which host has the pool and where its root "
			   "is: stop them all and put its seats back (1 MiB at "
			   "64 KiB) from a copy of the device",
			   cfs_devset_path(set, 0));
}

/* The seat of the last epoch. */
static int load_shared(const struct cfs_devset *set,
		       struct cfs_seat_record *ret, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_seat_table_freep) struct cfs_seat_table *table = NULL;
	uint32_t base = 0, top = 0;
	int r = cfs_seat_table_new(set, &table, err);

	if (r == 0)
		r = cfs_seat_table_load(set, table, err);
	if (r == 0 && !cfs_seat_table_top(table, &base, &top))
		r = cfs_seat_none(set, err);
	if (r < 0)
		return r;
	ret->seat = table->seats[top].seat;
	ret->seq = table->seats[top].seq;
	return 0;
}

int cfs_seat_load(const struct cfs_devset *set, struct cfs_seat_record *ret,
		  struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) struct one *ones = NULL;
	uint32_t best;
	int r;

	if (cfs_devset_is_shared(set))
		return load_shared(set, ret, err);
	ones = calloc(reader_count(set), sizeof(*ones));
	if (!ones)
		return cfs_err_errno(err, -ENOMEM, "seats");
	best = UINT32_MAX;
	r = read_all(set, ones, &best, err);
	if ((r == -EUCLEAN || r == -EIO) && best == UINT32_MAX &&
	    !cfs_devset_is_mirror(set))
		return cfs_seat_recover(set, ret, err);
	if (r < 0)
		return r;
	ret->seat = ones[best].seat;
	ret->seq = ones[best].seq;
	return 0;
}

int cfs_seat_read(const struct cfs_devset *set, struct cfs_seat *ret,
		  struct cfs_err *err)
{
	struct cfs_seat_record state;
	int r = cfs_seat_load(set, &state, err);

	if (r == 0)
		*ret = state.seat;
	return r;
}

/* -------------------------------------------------------------- writing */

static int write_one(const struct cfs_devset *set, uint32_t index,
		     const struct cfs_seat *seat, uint64_t seq,
		     struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) struct cfs_page_disk *disk = NULL;
	const struct cfs_label *label = cfs_devset_label(set, index);
	struct cfs_dev *dev = cfs_devset_dev(set, index);
	const struct cfs_page page = {
		.kind = CFS_PAGE_SEAT,
		.seq = seq,
		.pool_lo = cfs_pool_lo(label->pool_uuid),
		.owner = label->device_index,
		.address = cfs_seat_offset_bytes(SEAT, seq & 1),
		.epoch = seat->epoch,
	};
	int r;

	disk = cfs_dev_buf_alloc(sizeof(*disk));
	if (!disk)
		return cfs_err_errno(err, -ENOMEM, "%s", cfs_dev_name(dev));
	cfs_seat_pack(seat, disk);
	cfs_page_pack(&page, disk);
	r = cfs_dev_write(dev, page.address, disk, sizeof(*disk), err);
	if (r == 0)
		r = cfs_dev_flush(dev, err);
	return r;
}

/* The next device from @index on that takes seats; the count at the end. */
static uint32_t next_target(const struct cfs_devset *set,
			    const struct cfs_seat *seat, uint32_t index)
{
	uint32_t count = cfs_devset_count(set);

	while (index < count &&
	       (!cfs_devset_dev(set, index) ||
		cfs_devset_is_removed(set, index) || is_absent(seat, index)))
		index++;
	return index;
}

struct tally {
	unsigned int done;
	int code; /* of the first failure */
};

/* What failed counts unless a mirror has it elsewhere. */
static int settle(const struct cfs_devset *set, const struct tally *tally,
		  struct cfs_err *err)
{
	if (!tally->code && !tally->done)
		return cfs_err_set(err, -EIO,
				   "no device is left to write the "
				   "seat to");
	if (!tally->code || (tally->done && cfs_devset_is_mirror(set)))
		return 0;
	return tally->code;
}

static void count_one(const struct cfs_devset *set, struct tally *tally, int r,
		      const struct cfs_err *why, struct cfs_err *err)
{
	if (r == 0) {
		tally->done++;
		return;
	}
	if (cfs_devset_is_mirror(set))
		cfs_devset_warn(set, "%s", why->msg);
	if (!tally->code) {
		tally->code = r;
		if (err)
			*err = *why;
	}
}

static int store(struct cfs_devset *set, const struct cfs_seat *seat,
		 uint64_t seq, struct cfs_err *err)
{
	uint32_t count = cfs_devset_count(set);
	struct tally tally = { 0 };
	unsigned int used = 0;
	uint32_t index;

	for (index = next_target(set, seat, 0);
	     index < count && used < CFS_SEAT_DEVICES;
	     index = next_target(set, seat, index + 1), used++) {
		struct cfs_err why = CFS_ERR_INIT;
		int r = write_one(set, index, seat, seq, &why);

		count_one(set, &tally, r, &why, err);
	}
	return settle(set, &tally, err);
}

int cfs_seat_store(struct cfs_devset *set, struct cfs_seat_record *state,
		   struct cfs_err *err)
{
	int r = store(set, &state->seat, state->seq + 1, err);

	if (r == 0)
		state->seq++;
	return r;
}

int cfs_seat_level(struct cfs_devset *set, const struct cfs_seat_record *state,
		   struct cfs_err *err)
{
	uint32_t count = cfs_devset_count(set);
	struct tally tally = { 0 };
	unsigned int used = 0;
	uint32_t index;

	for (index = next_target(set, &state->seat, 0);
	     index < count && used < CFS_SEAT_DEVICES;
	     index = next_target(set, &state->seat, index + 1), used++) {
		struct cfs_err why = CFS_ERR_INIT;
		struct cfs_seat seat;
		uint64_t seq;
		int r = cfs_seat_read_one(cfs_devset_dev(set, index),
					  cfs_devset_label(set, index), &seat,
					  &seq, &why);

		if (r < 0 || seq < state->seq)
			r = write_one(set, index, &state->seat, state->seq,
				      &why);
		count_one(set, &tally, r, &why, err);
	}
	return settle(set, &tally, err);
}

int cfs_seat_format(struct cfs_devset *set,
		    const struct cfs_place roots[CFS_ROOT_PLACES_MAX],
		    struct cfs_err *err)
{
	struct cfs_seat seat = { .state = CFS_SEAT_CLEAN };

	memcpy(seat.roots, roots, sizeof(seat.roots));
	return store(set, &seat, 0, err);
}
