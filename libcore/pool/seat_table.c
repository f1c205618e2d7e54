/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Seats of shared pools on their devices. */
#include "pool/seat_table.h"

#include "base/bits.h"
#include "base/cleanup.h"
#include "base/uuid.h"
#include "ondisk/geometry.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool cfs_devset_is_shared(const struct cfs_devset *set)
{
	return cfs_devset_label(set, 0)->flags & CFS_POOL_FLAG_SHARED;
}

uint32_t cfs_seat_device_count(const struct cfs_devset *set)
{
	const uint32_t fixed = cfs_devset_label(set, 0)->vote_count;

	return fixed ? fixed : CFS_MIN(cfs_devset_count(set), CFS_SEAT_DEVICES);
}

uint32_t cfs_seat_majority(const struct cfs_devset *set)
{
	return cfs_seat_device_count(set) / 2 + 1;
}

int cfs_seat_table_new(const struct cfs_devset *set,
		       struct cfs_seat_table **ret, struct cfs_err *err)
{
	struct cfs_seat_table *table = calloc(1, sizeof(*table));

	if (table) {
		table->count = cfs_devset_label(set, 0)->seat_count;
		table->seats = calloc(table->count, sizeof(*table->seats));
	}
	if (!table || !table->seats) {
		cfs_seat_table_free(table);
		return cfs_err_errno(err, -ENOMEM, "seats");
	}
	*ret = table;
	return 0;
}

void cfs_seat_table_free(struct cfs_seat_table *table)
{
	if (!table)
		return;
	free(table->pages);
	free(table->seats);
	free(table);
}

void cfs_seat_table_freep(struct cfs_seat_table **table)
{
	cfs_seat_table_free(*table);
}

/* -------------------------------------------------------------- reading */

static int device_of(const struct cfs_devset *set, uint32_t device_index,
		     struct cfs_dev **ret, struct cfs_err *err)
{
	*ret = cfs_devset_dev(set, device_index);
	return *ret ? 0
		    : cfs_err_set(err, -ENODEV, "%s: is missing",
				  cfs_devset_path(set, device_index));
}

/* One page; @e gets it if it is valid and newer.  -ENOTSUP. */
static int take_page(const struct cfs_label *label, uint32_t seat_index,
		     unsigned int slot, const struct cfs_page_disk *disk,
		     struct cfs_seat_entry *e, struct cfs_err *err)
{
	const struct cfs_page_expect expect = {
		.kind = CFS_PAGE_SEAT,
		.pool_lo = cfs_pool_lo(label->pool_uuid),
		.owner = label->device_index,
		.address = cfs_seat_offset_bytes(seat_index, slot),
	};
	struct cfs_page page = { 0 };
	struct cfs_seat seat;
	int r = cfs_page_unpack(disk, &expect, &page, err);

	if (r == -ENOTSUP)
		return r;
	if (r < 0 || (page.seq & 1) != slot ||
	    (e->is_valid && page.seq <= e->seq) ||
	    cfs_seat_unpack(disk, &seat, err) < 0 || seat.epoch != page.epoch)
		return 0;
	e->seat = seat;
	e->seq = page.seq;
	e->is_valid = true;
	return 0;
}

int cfs_seat_table_read(const struct cfs_devset *set, uint32_t device_index,
			struct cfs_seat_table *table, struct cfs_err *err)
{
	const struct cfs_label *label = cfs_devset_label(set, device_index);
	const size_t bytes = (size_t)table->count * 2 * CFS_PAGE_BYTES;
	struct cfs_dev *dev;
	int r = device_of(set, device_index, &dev, err);

	if (r < 0)
		return r;
	if (!table->pages)
		table->pages = cfs_dev_buf_alloc_unset(bytes);
	if (!table->pages)
		return cfs_err_errno(err, -ENOMEM, "%s", cfs_dev_name(dev));
	r = cfs_dev_read(dev, cfs_seat_offset_bytes(0, 0), table->pages, bytes,
			 err);
	for (uint32_t i = 0; r == 0 && i < 2 * table->count; i++)
		r = take_page(label, i / 2, i & 1, &table->pages[i],
			      &table->seats[i / 2], err);
	return r;
}

int cfs_seat_table_load(const struct cfs_devset *set,
			struct cfs_seat_table *table, struct cfs_err *err)
{
	const uint32_t count = cfs_seat_device_count(set);
	struct cfs_err why = CFS_ERR_INIT;
	uint32_t good = 0;

	for (uint32_t i = 0; i < count; i++) {
		int r = cfs_seat_table_read(set, i, table, &why);

		if (r == -ENOTSUP || r == -ENOMEM)
			return cfs_err_set(err, r, "%s", why.msg);
		good += r == 0;
	}
	if (good >= cfs_seat_majority(set))
		return 0;
	return cfs_err_set(err, -EIO,
			   "only %" PRIu32 " of the %" PRIu32
			   " devices with seats can be read (%s): "
			   "a shared pool needs %" PRIu32,
			   good, count, why.msg, cfs_seat_majority(set));
}

int cfs_seat_page_read(const struct cfs_devset *set, uint32_t device_index,
		       uint32_t seat_index, struct cfs_seat_entry *ret,
		       struct cfs_err *err)
{
	const struct cfs_label *label = cfs_devset_label(set, device_index);
	CFS_CLEANUP(cfs_freep) struct cfs_page_disk *pages = NULL;
	struct cfs_seat_entry e = { .is_valid = false };
	struct cfs_dev *dev;
	int r = device_of(set, device_index, &dev, err);

	if (r < 0)
		return r;
	pages = cfs_dev_buf_alloc(2 * sizeof(*pages));
	if (!pages)
		return cfs_err_errno(err, -ENOMEM, "%s", cfs_dev_name(dev));
	r = cfs_dev_read(dev, cfs_seat_offset_bytes(seat_index, 0), pages,
			 2 * sizeof(*pages), err);
	for (unsigned int slot = 0; r == 0 && slot < 2; slot++)
		r = take_page(label, seat_index, slot, &pages[slot], &e, err);
	if (r == 0)
		*ret = e;
	return r;
}

/* -------------------------------------------------------------- writing */

int cfs_seat_page_write(const struct cfs_devset *set, uint32_t device_index,
			uint32_t seat_index, const struct cfs_seat *seat,
			uint64_t seq, struct cfs_err *err)
{
	const struct cfs_label *label = cfs_devset_label(set, device_index);
	CFS_CLEANUP(cfs_freep) struct cfs_page_disk *disk = NULL;
	const struct cfs_page page = {
		.kind = CFS_PAGE_SEAT,
		.seq = seq,
		.pool_lo = cfs_pool_lo(label->pool_uuid),
		.owner = label->device_index,
		.address = cfs_seat_offset_bytes(seat_index, seq & 1),
		.epoch = seat->epoch,
	};
	struct cfs_dev *dev;
	int r = device_of(set, device_index, &dev, err);

	if (r < 0)
		return r;
	disk = cfs_dev_buf_alloc(sizeof(*disk));
	if (!disk)
		return cfs_err_errno(err, -ENOMEM, "%s", cfs_dev_name(dev));
	cfs_seat_pack(seat, disk);
	cfs_page_pack(&page, disk);
	r = cfs_dev_write(dev, page.address, disk, sizeof(*disk), err);
	return r < 0 ? r : cfs_dev_flush(dev, err);
}

static int store_one(const struct cfs_devset *set, uint32_t device_index,
		     uint32_t seat_index, const struct cfs_seat_entry *e,
		     struct cfs_err *err)
{
	struct cfs_seat_entry there;
	int r = cfs_seat_page_read(set, device_index, seat_index, &there, err);

	if (r != 0)
		return r;
	if (there.is_valid && there.seq > e->seq)
		return cfs_err_set(err, -EBUSY,
				   "seat %" PRIu32 " was taken "
				   "by another process",
				   seat_index);
	return cfs_seat_page_write(set, device_index, seat_index, &e->seat,
				   e->seq + 1, err);
}

int cfs_seat_entry_store(const struct cfs_devset *set, uint32_t seat_index,
			 struct cfs_seat_entry *e, struct cfs_err *err)
{
	const uint32_t count = cfs_seat_device_count(set);
	struct cfs_err why = CFS_ERR_INIT;
	uint32_t good = 0;

	for (uint32_t i = 0; i < count; i++) {
		int r = store_one(set, i, seat_index, e, &why);

		if (r == -EBUSY)
			return cfs_err_set(err, r, "%s", why.msg);
		good += r == 0;
	}
	/* Some may have it: the next write has a higher seq in any case. */
	e->seq++;
	e->is_valid = true;
	if (good >= cfs_seat_majority(set))
		return 0;
	return cfs_err_set(err, -EIO,
			   "only %" PRIu32 " of the %" PRIu32
			   " devices with seats can be written (%s): "
			   "a shared pool needs %" PRIu32,
			   good, count, why.msg, cfs_seat_majority(set));
}

/* -------------------------------------------------------------- judging */

bool cfs_seat_table_top(const struct cfs_seat_table *table, uint32_t *ret_base,
			uint32_t *ret_top)
{
	const struct cfs_seat *base = NULL, *top = NULL;

	for (uint32_t i = 0; i < table->count; i++) {
		const struct cfs_seat_entry *e = &table->seats[i];

		if (!e->is_valid || e->seat.state == CFS_SEAT_FREE)
			continue;
		if (!top || e->seat.epoch > top->epoch) {
			top = &e->seat;
			*ret_top = i;
		}
		if (!base || e->seat.base_epoch > base->base_epoch ||
		    (e->seat.base_epoch == base->base_epoch &&
		     e->seat.epoch < base->epoch)) {
			base = &e->seat;
			*ret_base = i;
		}
	}
	return top;
}
