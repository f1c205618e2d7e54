/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state of a simulated world, shared by sim.c (devices and the record),
 * sim_crash.c (crash images) and sim_fault.c (faults, held writes, damage).
 * All of it is under the one mutex of the world.
 */
#pragma once

#include "device/device_priv.h"
#include "device/sim.h"
#include "device/sparse.h"

#define CFS_SIM_SECTOR_BYTES 512u

struct sim_event {
	struct cfs_sim_event event;
	unsigned char *data; /* of a write; NULL: zeroes */
};

struct sim_range {
	uint64_t start;
	uint64_t end;
};

struct sim_disk {
	unsigned int index;
	uint64_t size_bytes;
	uint64_t size_max_bytes; /* that it ever had */
	struct cfs_sparse now;   /* what a read sees */
	struct cfs_sparse base;  /* before event 0 */
	struct cfs_dev_lockbox lockbox;
	struct sim_range *latent; /* bad ranges, disjoint */
	size_t latent_count;

	/*
	 * The durable state after sim->durable_count events: base and every
	 * write before event number durable_from, which is one past the last
	 * flush of this device.
	 */
	struct cfs_sparse durable;
	size_t durable_from;
};

struct cfs_sim {
	pthread_mutex_t mutex;
	struct sim_event *events;
	size_t event_count;
	size_t event_room;
	struct sim_disk **disks;
	unsigned int disk_count;
	unsigned int handle_count;
	size_t durable_count; /* see struct sim_disk */

	struct cfs_sim_fault fault;
	bool is_armed;
	bool was_hit;
	uint64_t call_count;
};

struct sim_held {
	uint64_t offset_bytes;
	uint64_t length_bytes;
	unsigned char *data; /* NULL: a discard */
};

struct sim_dev {
	struct cfs_dev dev;
	struct cfs_sim *sim;
	struct sim_disk *disk;
	enum cfs_dev_lock_mode lock_mode;
	bool is_holding;
	struct sim_held *held; /* oldest first */
	size_t held_count;
};

static inline struct sim_dev *cfs_sim_dev_of(const struct cfs_dev *dev)
{
	return (struct sim_dev *)(uintptr_t)dev;
}

/* Asking locks and may move the cache: not a change that a caller can see. */
static inline struct cfs_sim *cfs_sim_mutable(const struct cfs_sim *sim)
{
	return (struct cfs_sim *)(uintptr_t)sim;
}

/*
 * Apply and record a write (@data NULL: of zeroes).  @data is copied.
 * -ENOMEM: neither has happened.
 */
int cfs_sim_land(struct cfs_sim *sim, struct sim_disk *disk,
		 uint64_t offset_bytes, uint64_t length_bytes,
		 const unsigned char *data);

/* Write to a tree; @data NULL: zeroes. */
int cfs_sim_put(struct cfs_sparse *sparse, uint64_t offset_bytes,
		uint64_t length_bytes, const unsigned char *data);

/* Forget the record; the base must have been set. */
void cfs_sim_forget(struct cfs_sim *sim);

/* Make what is on the devices the base, and forget the record. */
void cfs_sim_rebase(struct cfs_sim *sim);

/* A well mixed number of @value. */
uint64_t cfs_sim_mix(uint64_t value);

/* The sectors of a write that survive its tearing, as runs. */
struct sim_tear {
	uint64_t state;
	uint64_t at;
	uint64_t end;
	uint64_t unit_bytes;
	unsigned int chance; /* of eight, that a sector survives */
};
void cfs_sim_tear_init(struct sim_tear *tear, uint64_t key,
		       uint64_t offset_bytes, uint64_t length_bytes);
/* The next run that survives; false: no more. */
bool cfs_sim_tear_next(struct sim_tear *tear, struct sim_range *ret);

/* ---- sim_fault.c, called by the device operations */

/* Count a call; negative errno: it fails, and maybe partly. */
int cfs_sim_fault_check(struct cfs_sim *sim, bool *ret_is_partial);
int cfs_sim_hold_add(struct sim_dev *sim_dev, uint64_t offset_bytes,
		     uint64_t length_bytes, const unsigned char *data);
void cfs_sim_hold_overlay(const struct sim_dev *sim_dev, uint64_t offset_bytes,
			  void *buf, size_t length_bytes);
void cfs_sim_hold_drop(struct sim_dev *sim_dev);
bool cfs_sim_latent_hit(const struct sim_disk *disk, uint64_t offset_bytes,
			uint64_t length_bytes);
/* -ENOMEM: a range could not be split, and nothing is cleared. */
int cfs_sim_latent_clear(struct sim_disk *disk, uint64_t offset_bytes,
			 uint64_t length_bytes);
