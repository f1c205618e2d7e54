/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bodies of messages as bytes: little-endian integers and counted strings,
 * one behind the other, without alignment.
 *
 * A writer that runs out of room and a reader that runs out of bytes set a
 * flag and go on doing nothing, so that a message is packed or unpacked in
 * one go and judged once, at its end.  What a failed reader hands out is
 * zero, never what it was not given.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cfs_wire_put {
	uint8_t *data; /* the caller's */
	size_t room_bytes;
	size_t bytes; /* written so far */
	bool is_full; /* something did not fit; stays set */
};

struct cfs_wire_get {
	const uint8_t *data; /* the caller's; must outlive the reader */
	size_t bytes;
	size_t at;   /* read so far */
	bool is_bad; /* read past the end, or a bad value */
};

void cfs_wire_put_init(struct cfs_wire_put *put, void *data, size_t room_bytes);
void cfs_wire_put_u8(struct cfs_wire_put *put, uint8_t v);
void cfs_wire_put_u16(struct cfs_wire_put *put, uint16_t v);
void cfs_wire_put_u32(struct cfs_wire_put *put, uint32_t v);
void cfs_wire_put_u64(struct cfs_wire_put *put, uint64_t v);
/* @n bytes as they are, without a count; @p may be NULL if @n is 0. */
void cfs_wire_put_bytes(struct cfs_wire_put *put, const void *p, size_t n);
/* le32 count, then the bytes. */
void cfs_wire_put_blob(struct cfs_wire_put *put, const void *p, size_t n);
/* le16 count, then the bytes; longer than 65535: is_full. */
void cfs_wire_put_string(struct cfs_wire_put *put, const char *text);

/* @data may be NULL if @bytes is 0. */
void cfs_wire_get_init(struct cfs_wire_get *get, const void *data,
		       size_t bytes);
uint8_t cfs_wire_get_u8(struct cfs_wire_get *get);
uint16_t cfs_wire_get_u16(struct cfs_wire_get *get);
uint32_t cfs_wire_get_u32(struct cfs_wire_get *get);
uint64_t cfs_wire_get_u64(struct cfs_wire_get *get);
/* @n bytes into @ret; zeroes if there are not as many. */
void cfs_wire_get_bytes(struct cfs_wire_get *get, void *ret, size_t n);
/*
 * What cfs_wire_put_blob wrote, in place.  @max: more is bad.  Returns NULL
 * with *ret_n 0 if it is bad; else a pointer into the reader's bytes, not
 * NULL even if *ret_n is 0.
 */
const void *cfs_wire_get_blob(struct cfs_wire_get *get, size_t max,
			      size_t *ret_n);
/*
 * A string with its NUL into @ret of @room bytes (at least 1).  Bad, and
 * then "": it does not fit, or it has a NUL in it.
 */
void cfs_wire_get_string(struct cfs_wire_get *get, char *ret, size_t room);

/* Bytes not read yet; 0 if it is bad. */
size_t cfs_wire_get_left(const struct cfs_wire_get *get);
