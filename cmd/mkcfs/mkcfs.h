/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The two things mkcfs makes: a pool from devices, and a container in a pool,
 * empty or filled from an image, an archive or a directory.
 */
#pragma once

#include "common/cmd.h"
#include "common/progress.h"
#include "session/session.h"

/* A pool on the devices that are the operands. */
int mkcfs_make_pool(struct cfs_cmd *cmd);

/* A container with the name that is the operand. */
int mkcfs_make_volume(struct cfs_cmd *cmd);

/* A raw image, open. */
struct mkcfs_image {
	const char *name;    /* for messages */
	int fd;              /* -1: none */
	bool has_size;       /* else its end says it: a pipe */
	uint64_t base_bytes; /* where it begins */
	uint64_t size_bytes;
};

/*
 * Open @path, or standard input for "-".
 * Returns 0; -ENOENT, -EISDIR, -EACCES, -EIO with @path named.
 */
int mkcfs_image_open(const char *path, struct mkcfs_image *ret,
		     struct cfs_err *err);
void mkcfs_image_donep(struct mkcfs_image *image);

/* The largest LUN. */
#define MKCFS_LUN_BYTES_MAX (UINT64_C(1) << 60)

/*
 * Copy @image into the LUN @volume, in which nothing is written yet, durably.
 * With @cuts the LUN is cut to the image's size, rounded up to a block, which
 * is then *@size_bytes.
 * @ret_bytes  of the image that were not holes
 * Returns 0; -ENOSPC: the image is larger; -EINVAL: it is empty, and there is
 * nothing to cut to; or the errno of reading or writing.
 */
int mkcfs_fill_lun(struct cfs_cmd *cmd, struct cfs_session *s,
		   const char *volume, const struct mkcfs_image *image,
		   bool cuts, uint64_t *size_bytes, uint64_t *ret_bytes);

/*
 * Fill the tree @volume from an archive (a file, or "-") or a directory.
 * Entries that were left out are printed, and raise the exit status to 1.
 */
int mkcfs_fill_tree(struct cfs_cmd *cmd, struct cfs_session *s,
		    const char *volume, const char *from);
