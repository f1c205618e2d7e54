/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Seat: one page, in two slots, per host instance that may be the pool's
 * primary.  It says who holds the pool, in which epoch, and where that
 * epoch's root of the pool's own container is.
 *
 * On a pool of one host the kernel's lock on the devices elects the holder,
 * and only seat 0 is used.  On shared pools epochs are decided over the seats
 * by Disk Paxos; the ballot fields are for that.
 */
#pragma once

#include "ondisk/page.h"

#define CFS_SEAT_HOST_BYTES    64u
#define CFS_SEAT_ADDRESS_BYTES 256u
#define CFS_ROOT_PLACES_MAX    4u
#define CFS_SEAT_ABSENT_MAX    16u

enum cfs_seat_state {
	CFS_SEAT_FREE = 0,   /* never used, or given up */
	CFS_SEAT_OPEN = 1,   /* an instance holds the pool */
	CFS_SEAT_CLEAN = 2,  /* it closed cleanly and holds nothing */
	CFS_SEAT_TAKING = 3, /* takes over from one who may still write;
			      * shared pools */
};

/* A page pair on a device, named by physical place. */
struct cfs_place_disk {
	le32 device_index;
	le32 is_used;
	le64 slot_bytes[2]; /* byte offset of each slot */
	le64 vaddr[2];      /* the same as logical addresses */
};
CFS_ASSERT_SIZE(struct cfs_place_disk, 40);

struct cfs_absent_disk { /* a device left out, and since when */
	le32 device_index;
	le32 epoch;
	le64 stamp;
};
CFS_ASSERT_SIZE(struct cfs_absent_disk, 16);

struct cfs_seat_payload_disk {
	uint8_t instance_uuid[16];
	uint8_t boot_id[16]; /* of the host */
	uint8_t host[CFS_SEAT_HOST_BYTES];
	uint8_t address[CFS_SEAT_ADDRESS_BYTES]; /* where it answers tools */
	le32 state;
	le32 epoch;
	le64 pid;
	le64 process_start;   /* clock ticks since boot, 0 unknown */
	le64 opened_ns;       /* real time */
	le64 ballot_seen;     /* Disk Paxos: mbal */
	le64 ballot_accepted; /* bal */
	le32 ballot_epoch;    /* the value: epoch and seat */
	le32 ballot_seat;
	struct cfs_place_disk roots[CFS_ROOT_PLACES_MAX];
	struct cfs_absent_disk absent[CFS_SEAT_ABSENT_MAX];
	le32 absent_count;
	le32 has_clients;
	le32 base_epoch; /* whose root @roots are */
	le32 clients_epoch;
	le64 period_ns; /* silent for so long, and it is over */
	struct cfs_place_disk plan[CFS_ROOT_PLACES_MAX];
	le64 silent_ns; /* of the boot clock of the host */
	uint8_t reserved[CFS_PAGE_PAYLOAD_BYTES - 856 -
			 40 * CFS_ROOT_PLACES_MAX];
};
CFS_ASSERT_SIZE(struct cfs_seat_payload_disk, CFS_PAGE_PAYLOAD_BYTES);

struct cfs_place {
	bool is_used;
	uint32_t device_index;
	uint64_t slot_bytes[2];
	uint64_t vaddr[2];
};

struct cfs_absent {
	uint32_t device_index;
	uint32_t epoch;
	uint64_t stamp;
};

struct cfs_seat {
	uint8_t instance_uuid[16];
	uint8_t boot_id[16];
	char host[CFS_SEAT_HOST_BYTES];
	char address[CFS_SEAT_ADDRESS_BYTES];
	uint32_t state;
	uint32_t epoch;
	uint64_t pid;
	uint64_t process_start;
	uint64_t opened_ns;
	uint64_t ballot_seen, ballot_accepted;
	uint32_t ballot_epoch, ballot_seat;
	struct cfs_place roots[CFS_ROOT_PLACES_MAX];
	struct cfs_absent absent[CFS_SEAT_ABSENT_MAX];
	uint32_t absent_count;
	/* Shared pools.  The epoch that wrote the root that @roots name: our
	 * own once we hold the pool, until then that of the one before. */
	uint32_t base_epoch;
	uint64_t period_ns;
	struct cfs_place plan[CFS_ROOT_PLACES_MAX]; /* where its first root
						     * will be, while TAKING */
	/* Clients of this holder, or of one before it, may hold leases: who
	 * takes the pool lets their period pass.  Stays through a close. */
	bool has_clients;
	/* Of the holder whose clients they are, and who has kept a list of
	 * them; 0: there is none. */
	uint32_t clients_epoch;
	/* Nobody has renewed their leases since then, by the clock of the host
	 * @boot_id that counts sleep; 0: not known, or somebody does. */
	uint64_t silent_ns;
};

void cfs_seat_pack(const struct cfs_seat *seat, struct cfs_page_disk *disk);
/*
 * Decode the payload of a page that cfs_page_unpack accepted.
 * -EUCLEAN: a field makes no sense (state, counts, strings without an end).
 */
int cfs_seat_unpack(const struct cfs_page_disk *disk, struct cfs_seat *ret,
		    struct cfs_err *err);
