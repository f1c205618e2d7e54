/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The seats of a shared pool: each instance of a host has one and writes no
 * other.  They stand on the first three devices of the pool, by index, or on
 * fewer if it was made with fewer; what counts is what a majority of these was
 * given, or was asked.  A majority of any two hosts has a device in common, so
 * one of two that first write and then read sees the other.  Therefore which
 * devices these are never changes: a host that has not heard of a device that
 * was added counts the same ones as those that have.
 *
 * A pool of two devices therefore needs both.
 *
 * Order of writing, as in seat_io.c: seq n goes to slot n & 1, a flush follows,
 * and only then may n + 1 be written.
 */
#pragma once

#include "pool/devset.h"
#include "ondisk/seat.h"

#define CFS_SEAT_DEVICES CFS_VOTES_MAX /* that carry seats */

struct cfs_seat_entry {
	struct cfs_seat seat;
	uint64_t seq;  /* of the page that was the newest */
	bool is_valid; /* else it was never used */
};

struct cfs_seat_table {
	uint32_t count;
	struct cfs_seat_entry *seats;
	/* Of one device, while it is read: kept, since who waits for a holder
	 * reads them again and again, and they are a MiB. */
	struct cfs_page_disk *pages;
};

bool cfs_devset_is_shared(const struct cfs_devset *set);

/* How many devices carry seats, and how many of these are a majority. */
uint32_t cfs_seat_device_count(const struct cfs_devset *set);
uint32_t cfs_seat_majority(const struct cfs_devset *set);

int cfs_seat_table_new(const struct cfs_devset *set,
		       struct cfs_seat_table **ret, struct cfs_err *err);
void cfs_seat_table_free(struct cfs_seat_table *table); /* NULL is allowed */
void cfs_seat_table_freep(struct cfs_seat_table **table);

/*
 * Read all seats of one device; those that are newer than what @table has take
 * their place.  -ENODEV: it is missing; -EIO; -ENOTSUP: a newer format.
 */
int cfs_seat_table_read(const struct cfs_devset *set, uint32_t device_index,
			struct cfs_seat_table *table, struct cfs_err *err);
/* The same for a majority, or all that can be read.  -EIO: too few. */
int cfs_seat_table_load(const struct cfs_devset *set,
			struct cfs_seat_table *table, struct cfs_err *err);

/* One seat on one device.  @ret_is_valid false: never used. */
int cfs_seat_page_read(const struct cfs_devset *set, uint32_t device_index,
		       uint32_t seat_index, struct cfs_seat_entry *ret,
		       struct cfs_err *err);
/* Written and flushed. */
int cfs_seat_page_write(const struct cfs_devset *set, uint32_t device_index,
			uint32_t seat_index, const struct cfs_seat *seat,
			uint64_t seq, struct cfs_err *err);

/*
 * On all its devices, @e->seq raised by one; e->seat is what shall stand there.
 * Each is read before: -EBUSY: the seat is another instance's now, and nothing
 * more was written.  -EIO: fewer than a majority took it.
 */
int cfs_seat_entry_store(const struct cfs_devset *set, uint32_t seat_index,
			 struct cfs_seat_entry *e, struct cfs_err *err);

/*
 * Whose root counts: of all seats that hold the pool, held it or are about to,
 * the one with the highest base_epoch, of those the lowest epoch; and the seat
 * of the highest epoch, whose instance holds the pool or had it last.
 * False: there is none.
 */
bool cfs_seat_table_top(const struct cfs_seat_table *table, uint32_t *ret_base,
			uint32_t *ret_top);
