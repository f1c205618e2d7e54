/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The set of devices that make a pool: found, opened, their labels verified
 * and compared.  Nothing above this layer knows paths.
 *
 * Thread safety: open, add and close by one thread; accessors by any.
 */
#pragma once

#include "device/device.h"
#include "ondisk/label.h"
#include "ondisk/seat.h"

struct cfs_devset;

struct cfs_devset_options {
	bool is_writable;
	/*
	 * Nothing reaches the devices: they are opened to read only and each is
	 * wrapped in an overlay device that keeps what is written in memory.
	 * Implied by !is_writable.
	 */
	bool is_overlay;
	const char *const *search; /* directories, after the hints */
	size_t search_count;
	void (*warn)(void *arg, const char *line);
	void *arg;
	/* For a client, which writes beside the one who holds the pool: it
	 * takes no lock, nor a block device for itself. */
	bool is_beside;
	/*
	 * A path, or a UUID in text: this device of a mirror is given up, and
	 * treated as missing.  May be NULL.
	 */
	const char *without;
	/* A device may be shorter than its label says: somebody is about to
	 * make the label say so too. */
	bool allows_short;
	/* For a block device that somebody has open for itself alone. */
	unsigned int wait_seconds;
	bool (*stop)(void *arg); /* may be NULL */
};

/*
 * Open the pool that the device at @path belongs to: reads its label, then
 * finds the others by the hints of its label and of theirs (by the last
 * component beside the device that has the hint, else as they are), and what
 * is then still missing in the directory of @path and in @search, by the label
 * of each plain file or block device there.  So a copy of all devices in
 * another directory is a pool of its own, and is never mixed with the first.
 *
 * A device that is not found is missing: its place is NULL.  For a pool that
 * is not a mirror that is -ENODEV (the message names its UUID and last known
 * path).  For a mirror it is a warning, as long as one is there.
 * Errors: -ENOENT, -EMEDIUMTYPE, -EUCLEAN, -ENOTSUP, -ENODEV, -EPERM, -EROFS,
 * -EIO, -EINVAL (a directory, a bad URI); -EBUSY: a block device is mounted or
 * open elsewhere (writable sets only); -EINTR: stop() said so; -EUCLEAN also
 * for two devices with one identity.
 */
int cfs_devset_open(const char *path, const struct cfs_devset_options *opt,
		    struct cfs_devset **ret, struct cfs_err *err);

/* The same from open devices (tests): the set owns them from now on, also when
 * it fails.  In any order; labels are read from them. */
int cfs_devset_from_devices(struct cfs_dev *const *devices, size_t count,
			    const struct cfs_devset_options *opt,
			    struct cfs_devset **ret, struct cfs_err *err);
void cfs_devset_close(struct cfs_devset *set); /* NULL is allowed */
void cfs_devset_closep(struct cfs_devset **set);

uint32_t cfs_devset_count(const struct cfs_devset *set); /* with missing */
/* The device with that index of the pool, or NULL if it is missing. */
struct cfs_dev *cfs_devset_dev(const struct cfs_devset *set, uint32_t index);
/* The label as read from it; for a missing one what is known: its UUID if the
 * hints have it, what all devices share, and no sizes and slices (0).  What
 * changes while others look has functions of its own, below. */
const struct cfs_label *cfs_devset_label(const struct cfs_devset *set,
					 uint32_t index);
/* Of its label.  A device may grow at any time (cfs_devset_set_size); one may
 * be new and the other not yet. */
uint64_t cfs_devset_size_bytes(const struct cfs_devset *set, uint32_t index);
uint64_t cfs_devset_slice_count(const struct cfs_devset *set, uint32_t index);
/* Where it was opened (absolute path), or its last known path. */
const char *cfs_devset_path(const struct cfs_devset *set, uint32_t index);
/* It was taken out of the pool: its index is nobody's, for ever, and it is
 * NULL without being missing. */
bool cfs_devset_is_removed(const struct cfs_devset *set, uint32_t index);
/* As asked for; with an overlay too (then changes stay in memory). */
bool cfs_devset_is_writable(const struct cfs_devset *set);
bool cfs_devset_is_overlay(const struct cfs_devset *set);

/* Who holds commits of the pool back (pool/commit_hold.h). */
struct cfs_commit_holds;
struct cfs_commit_holds *cfs_devset_holds(struct cfs_devset *set);

/* The same device, by path or by UUID in text.  -ENOENT. */
int cfs_devset_find(const struct cfs_devset *set, const char *path_or_uuid,
		    uint32_t *ret_index, struct cfs_err *err);

/*
 * Write the label of one device: copies 0 and 2, flush, 1 and 3, flush; seq
 * one higher than @label's and than what stands there.  Used at format and
 * growth.
 */
int cfs_label_write(struct cfs_dev *dev, const struct cfs_label *label,
		    struct cfs_err *err);
/*
 * The best valid copy of a device's label.  @ret_bad_copies (may be NULL): how
 * many of the four are not valid.  Errors as cfs_label_unpack, -EIO.
 */
int cfs_label_read(struct cfs_dev *dev, struct cfs_label *ret,
		   unsigned int *ret_bad_copies, struct cfs_err *err);
/* Are all four copies valid, of one seq, and that not below @seq? */
bool cfs_label_is_level(struct cfs_dev *dev, uint64_t seq);

/*
 * Rewrite the labels of all present devices with the set's present count,
 * sizes and hints (after an add or growth), all with the same next seq.  A
 * crash in between leaves some old and some new; the newest count when the
 * pool is opened.
 */
int cfs_devset_write_labels(struct cfs_devset *set, struct cfs_err *err);
/* The same if that broke off, as one finds who takes the pool over from a
 * process that died: some are older than others, or a copy is torn. */
int cfs_devset_level_labels(struct cfs_devset *set, struct cfs_err *err);
/*
 * Take a freshly labelled device into the set as the next index; owned by the
 * set on success.  Writes no label of the others.
 */
int cfs_devset_add(struct cfs_devset *set, struct cfs_dev *dev,
		   const struct cfs_label *label, uint32_t *ret_index,
		   struct cfs_err *err);
/*
 * Take over what @newer, another look at the same pool, knows more: devices
 * that were added, and sizes that have grown.  For who holds no pool but reads
 * its maps.  Calls for one set come one at a time; others may use it meanwhile.
 * -EINVAL: another pool's.
 * @ret_first  index of the first device that is new; the count: none is
 */
int cfs_devset_follow(struct cfs_devset *set, struct cfs_devset *newer,
		      uint32_t *ret_first, struct cfs_err *err);
/* The name of the pool in memory, for write_labels; cut to what a label has. */
void cfs_devset_set_name(struct cfs_devset *set, const char *name);
/*
 * In memory, for write_labels: the pool is a mirror from now on; the device
 * was taken out of it (its label is not written any more, and who calls closes
 * it with cfs_devset_exclude).  -EINVAL: its index is too high for that.
 */
void cfs_devset_set_mirror(struct cfs_devset *set);
int cfs_devset_set_removed(struct cfs_devset *set, uint32_t index,
			   struct cfs_err *err);
/* Forget where a missing device was last seen: something else is there. */
void cfs_devset_forget_path(struct cfs_devset *set, uint32_t index);
/* Change the geometry of one device in memory (growth), for write_labels. */
void cfs_devset_set_size(struct cfs_devset *set, uint32_t index,
			 uint64_t size_bytes, uint64_t slice_count);
