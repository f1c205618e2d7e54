/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The simulated device: memory that records every write and flush, so that a
 * test can make each state that a crash could leave, fail any call, damage
 * any byte, and hold writes back for as long as it likes.
 *
 * Recording: the device keeps a list of events, numbered from 0.  A crash
 * after event N leaves: every write before the last flush among the first N
 * events, and of the writes behind that flush any subset, each whole or torn
 * at 512-byte sectors.
 *
 * Several simulated devices of one pool share a struct cfs_sim, so that their
 * events have one order.
 */
#pragma once

#include "device/device.h"

struct cfs_sim; /* the world: event list, faults */

enum cfs_sim_event_kind { CFS_SIM_WRITE, CFS_SIM_FLUSH, CFS_SIM_MARK };

struct cfs_sim_event {
	enum cfs_sim_event_kind kind;
	unsigned int device_index; /* in the order of creation */
	uint64_t offset_bytes;     /* write */
	uint64_t length_bytes;     /* write */
	uint64_t mark;             /* mark: the caller's number */
};

int cfs_sim_new(struct cfs_sim **ret, struct cfs_err *err);
void cfs_sim_free(struct cfs_sim *sim); /* after its devices; NULL ok */
void cfs_sim_freep(struct cfs_sim **sim);

/* A device of zeroes in @sim. */
int cfs_sim_dev_new(struct cfs_sim *sim, uint64_t size_bytes,
		    struct cfs_dev **ret, struct cfs_err *err);

/* Another handle to device @device_index; -ENOENT if there is none. */
int cfs_sim_dev_open(struct cfs_sim *sim, unsigned int device_index,
		     struct cfs_dev **ret, struct cfs_err *err);
/*
 * Another handle to the simulated device of @dev, with a lock owner, held
 * writes and a memory of failed flushes of its own: another host.  Contents
 * live as long as @sim, not only as long as handles.
 */
int cfs_sim_dev_reopen(struct cfs_dev *dev, struct cfs_dev **ret,
		       struct cfs_err *err);

size_t cfs_sim_event_count(const struct cfs_sim *sim);
struct cfs_sim_event cfs_sim_event(const struct cfs_sim *sim, size_t index);
/* Add a mark to the record: "all acknowledged up to here". */
void cfs_sim_mark(struct cfs_sim *sim, uint64_t mark);
/* Forget the record so far: what is on the devices becomes the base. */
void cfs_sim_checkpoint(struct cfs_sim *sim);

/*
 * Which of the unflushed writes survive a crash.
 * Chosen from @seed: each write lost, whole, or torn by sectors; with
 * @seed == 0 none survive, with @seed == UINT64_MAX all do, whole.
 * The exhaustive form: bit i of @mask says whether the i-th unflushed write
 * survives (whole), for up to 64 of them.
 */
struct cfs_sim_crash {
	size_t event_count; /* the crash comes after this many events */
	bool use_mask;
	uint64_t mask;
	uint64_t seed;
};
/* How many writes are unflushed after @event_count events, on all devices. */
size_t cfs_sim_unflushed_count(const struct cfs_sim *sim, size_t event_count);

/*
 * The device @device_index as it is after that crash, as a memory device that
 * the caller owns.  The same seed decides alike for all devices, so that the
 * images of one crash fit together.  Fast when event_count does not fall from
 * call to call (contents are shared copy-on-write, the durable state is kept
 * from the last call).  Damage and latent errors are not in it.  A discard is
 * in the record as a write of zeroes, and so is what a resize cuts off; the
 * image has the size that the device has now.
 */
int cfs_sim_crash_image(const struct cfs_sim *sim,
			const struct cfs_sim_crash *crash,
			unsigned int device_index, struct cfs_dev **ret,
			struct cfs_err *err);

/*
 * The same for all devices at once, as a simulation of its own, so that what
 * is done about that crash can be crashed again.  Its record is empty; no
 * handle is open.
 */
int cfs_sim_fork(const struct cfs_sim *sim, const struct cfs_sim_crash *crash,
		 struct cfs_sim **ret, struct cfs_err *err);

/*
 * Cut the power here and now: each device is left as a crash after the last
 * event with @seed leaves it, and that becomes the base.  Held writes stay
 * held: they are in the memory of hosts, which this does not stop.
 */
int cfs_sim_power_cut(struct cfs_sim *sim, uint64_t seed, struct cfs_err *err);

/*
 * Faults.  The device call with this number (reads, writes, flushes and
 * discards of all devices counted together from the arming, from 0) fails
 * with @code (negative errno; a flush with -EIO always); is_sticky: and all
 * later ones.  A failed write has written nothing, or with is_partial a random
 * part of its sectors.  Arming starts the count anew.
 */
struct cfs_sim_fault {
	uint64_t call_index;
	int code;
	bool is_sticky;
	bool is_partial;
};
void cfs_sim_fault_arm(struct cfs_sim *sim, const struct cfs_sim_fault *fault);
void cfs_sim_fault_disarm(struct cfs_sim *sim);
uint64_t cfs_sim_call_count(const struct cfs_sim *sim); /* since the arming */
bool cfs_sim_fault_was_hit(const struct cfs_sim *sim);

/*
 * Holding writes: while on, each write of @dev is acknowledged to its caller
 * but kept aside; cfs_sim_release lands the oldest ones, also after other
 * writes went to the same place (a zombie's late write).  Held writes belong
 * to the handle @dev: the zombie.  While on, it reads them back; nobody else
 * sees them, its flush does not land them, and closing it forgets them.  They
 * are recorded when they land.
 */
void cfs_sim_hold(struct cfs_dev *dev, bool on);
size_t cfs_sim_held_count(const struct cfs_dev *dev);
int cfs_sim_release(struct cfs_dev *dev, size_t count, struct cfs_err *err);

/* Damage: flip one bit, or overwrite; not recorded as a write. */
int cfs_sim_flip_bit(struct cfs_dev *dev, uint64_t bit_index,
		     struct cfs_err *err);
int cfs_sim_overwrite(struct cfs_dev *dev, uint64_t offset_bytes,
		      const void *buf, size_t length_bytes,
		      struct cfs_err *err);
/* Reads of this range fail with -EIO until it is written (a latent error). */
int cfs_sim_latent_error(struct cfs_dev *dev, uint64_t offset_bytes,
			 uint64_t length_bytes, struct cfs_err *err);
