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

/* A raw image that is read from its front, once. */
struct mkcfs_image {
	const char	*name;		/* for messages */
	int		fd;		/* -1: none */
	bool		is_seekable;	/* a plain file: its holes are known */
	bool		has_size;
	uint64_t	base_bytes;	/* where it begins in a plain file */
	uint64_t	size_bytes;
};

/*
 * Open @path, or standard input for "-".
 * Returns 0; -ENOENT, -EISDIR, -EPERM, -EIO with @path named.
 */
int mkcfs_image_open(const char *path, struct mkcfs_image *ret,
		     struct cfs_err *err);
void mkcfs_image_donep(struct mkcfs_image *image);

/*
 * The next bytes that are not a hole, at most @room_bytes, aligned so that
 * pieces end on multiples of @room_bytes of the image.
 * @buf         room for @room_bytes
 * @ret_offset  where they stand in the image
 * @ret_bytes   0: the image has ended, and *@ret_offset is its size
 * Returns 0; -EINTR: stopped; -EIO.
 */
int mkcfs_image_read(struct mkcfs_image *image, uint64_t *at, void *buf,
		     size_t room_bytes, uint64_t *ret_offset,
		     size_t *ret_bytes, struct cfs_err *err);

/*
 * Copy @image into the LUN @volume, which has *@size_bytes and nothing in it.
 * With @grows the LUN grows as far as the image needs; *@size_bytes is then
 * what it has in the end: the image's size, rounded up to a block.
 * @ret_bytes  of the image that were not holes
 * Returns 0; -ENOSPC: the image is larger; or the errno of reading or writing.
 */
int mkcfs_fill_lun(struct cfs_cmd *cmd, struct cfs_session *s,
		   const char *volume, struct mkcfs_image *image, bool grows,
		   uint64_t *size_bytes, uint64_t *ret_bytes);

/*
 * Fill the tree @volume from an archive (a file, or "-") or a directory.
 * Entries that were left out are printed, and raise the exit status to 1.
 */
int mkcfs_fill_tree(struct cfs_cmd *cmd, struct cfs_session *s,
		    const char *volume, const char *from);
