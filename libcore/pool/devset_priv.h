/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of this folder share: labels on devices (label_io.c), finding
 * devices (find.c), seats on devices (seat_io.c).
 */
#pragma once

#include "pool/commit_hold.h"
#include "pool/devset.h"
#include "pool/holder.h"
#include "pool/seat_table.h"

#include "base/vec.h"

#include <sys/types.h>

/* ------------------------------------------------------------- the set */

#define CFS_DEVSET_DEVICES_MAX 65536u /* a piece has 16 bits for a device */

struct cfs_devset_slot {
	struct cfs_dev *dev; /* NULL: missing */
	struct cfs_label label;
	char *path;
};

struct cfs_devset {
	struct cfs_devset_slot **slots; /* of that maximum; used from the front,
					 * never moved: accessors run beside */
	uint32_t count;                 /* atomic */
	bool is_writable;
	bool is_overlay;
	bool allows_short;
	const char *without; /* while it is put together */
	uint64_t label_seq;  /* the highest that was seen */
	void (*warn)(void *arg, const char *line);
	void *arg;
	struct cfs_commit_holds holds;
};

struct cfs_found;

/* Into the slot of its label's index, wrapped where the set is an overlay.
 * Takes device and path over on success. */
int cfs_devset_place(struct cfs_devset *set, struct cfs_found *found,
		     struct cfs_err *err);
void cfs_devset_warn(const struct cfs_devset *set, const char *fmt, ...)
	CFS_PRINTF(2, 3);
bool cfs_devset_is_mirror(const struct cfs_devset *set);

/* ------------------------------------------------------------- labels */

/* What two labels of one pool must agree on; the paths are for @err. */
int cfs_label_compare(const struct cfs_label *a, const char *path_a,
		      const struct cfs_label *b, const char *path_b,
		      struct cfs_err *err);

/* As cfs_label_read, by copies 0 and 1 alone. */
int cfs_label_peek(struct cfs_dev *dev, struct cfs_label *ret,
		   struct cfs_err *err);
/* As cfs_label_write, with the seq that @label has. */
int cfs_label_store(struct cfs_dev *dev, const struct cfs_label *label,
		    struct cfs_err *err);

/* ------------------------------------------------------------ finding */

/* A device that carries a label of the pool; fits into its label's size. */
struct cfs_found {
	struct cfs_dev *dev;
	struct cfs_label label;
	char *path;   /* absolute */
	dev_t st_dev; /* block device: st_rdev */
	ino_t st_ino; /* block device: 0 */
};

struct cfs_found_list {
	CFS_VEC(struct cfs_found) found;
	/* Why something at a device's last known path was not it. */
	struct cfs_err note;
};

/* What @path is, for comparing: as in struct cfs_found.  0 or -errno. */
int cfs_file_identity(const char *path, dev_t *ret_dev, ino_t *ret_ino);

/*
 * The absolute path of what cfs_dev_open(@path) opens; @path itself if that is
 * no file or block device (memory).  @ret: the caller's.
 */
int cfs_device_path(const char *path, char **ret, struct cfs_err *err);

/*
 * Find and open the devices of the pool of @path, which comes first in the
 * list.  A failure leaves the list for cfs_found_list_done all the same.
 */
int cfs_find_devices(const char *path, const struct cfs_devset_options *opt,
		     struct cfs_found_list *list, struct cfs_err *err);
void cfs_found_list_done(struct cfs_found_list *list);

/* The label with the highest seq. */
const struct cfs_label *cfs_found_master(const struct cfs_found_list *list);

/* -------------------------------------------------------------- seats */

/* "in use by process 1 on this host", "in use by host x since ...". */
#define CFS_HOLDER_TEXT_BYTES 256u
void cfs_holder_describe(const struct cfs_seat *seat,
			 const struct cfs_identity *self,
			 char ret[CFS_HOLDER_TEXT_BYTES]);

/* The best record of one device.  -EUCLEAN, -ENOTSUP, -EIO. */
int cfs_seat_read_one(struct cfs_dev *dev, const struct cfs_label *label,
		      struct cfs_seat *ret, uint64_t *ret_seq,
		      struct cfs_err *err);

struct cfs_seat_record { /* over all devices */
	struct cfs_seat seat;
	uint64_t seq;
};

int cfs_seat_load(const struct cfs_devset *set, struct cfs_seat_record *ret,
		  struct cfs_err *err);
/* Write @state->seat with seq one higher; @state->seq is raised on success. */
int cfs_seat_store(struct cfs_devset *set, struct cfs_seat_record *state,
		   struct cfs_err *err);
/* Bring devices that are behind up to the record that counts. */
int cfs_seat_level(struct cfs_devset *set, const struct cfs_seat_record *state,
		   struct cfs_err *err);
