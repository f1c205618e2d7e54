/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What commands do to a volume; in a thread of its unit.  tgt has looked at
 * ranges, reservations and write protection before.
 *
 * Any length of data may come with a command: no more is read or written than
 * both it and the command name.
 */
#include "tgt/bs.h"
#include "tgt/tgt.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN_BYTES   4096u
#define PIECE_BYTES   (UINT32_C(1) << 20)
/* Longer reads are enough for a thread each. */
#define SHORT_BYTES   (UINT32_C(32) << 10)

/* UNMAP, WRITE SAME: in the second byte of the CDB. */
#define ANCHOR        0x10u
#define UNMAPS        0x08u
#define NUMBERS       0x06u /* put into each block; obsolete */
#define NO_DATA       0x01u

#define LIST_HEAD     8u
#define LIST_ITEM     16u
#define LIST_HEAD_MIN 4u

static const uint8_t zeroes[PIECE_BYTES] __attribute__((aligned(ALIGN_BYTES)));

/* ---- how it goes --------------------------------------------------------- */

static void refuse(struct bs_request *r, uint8_t key, uint16_t asc)
{
	r->key = key;
	r->asc = asc;
}

/* What a volume says, as initiators know it. */
static void fail(struct bs_unit *u, struct bs_request *r, bool is_write,
		 int code, const struct cfs_err *err)
{
	bs_unit_failed(u, r, code, err);
	switch (code) {
	case -ENOSPC:
		refuse(r, SCSI_DATA_PROTECT, SCSI_NO_SPACE);
		break;
	case -EROFS:
		refuse(r, SCSI_DATA_PROTECT, SCSI_WRITE_PROTECTED);
		break;
	case -EINVAL: /* it has shrunk */
		refuse(r, SCSI_ILLEGAL_REQUEST, SCSI_OUT_OF_RANGE);
		break;
	case -ENOMEM:
		refuse(r, SCSI_HARDWARE_ERROR, SCSI_INTERNAL);
		break;
	case -EIO:
	case -EUCLEAN:
	case -ENODEV:
		refuse(r, SCSI_MEDIUM_ERROR,
		       is_write ? SCSI_WRITE_ERROR : SCSI_READ_ERROR);
		break;
	default: /* leases, who holds it */
		refuse(r, SCSI_HARDWARE_ERROR, SCSI_UNIT_COMMUNICATION);
		break;
	}
}

static uint32_t data_bytes(const struct bs_request *r)
{
	return (uint32_t)CFS_MIN((uint64_t)r->data_bytes, r->length_bytes);
}

/* ---- read and compare ---------------------------------------------------- */

static void read_into(struct bs_unit *u, struct bs_request *r, void *buf,
		      uint32_t bytes)
{
	struct cfs_err err = CFS_ERR_INIT;
	int code = bytes ? cfs_io_read(bs_unit_io(u), r->offset_bytes, buf,
				       bytes, NULL, &err)
			 : 0;

	if (code < 0)
		fail(u, r, false, code, &err);
}

/* As much as came with the command, aligned; NULL: it has failed. */
static uint8_t *read_again(struct bs_unit *u, struct bs_request *r)
{
	const uint32_t bytes = data_bytes(r);
	uint8_t *buf = aligned_alloc(
		ALIGN_BYTES, cfs_align_up(bytes ? bytes : 1, ALIGN_BYTES));

	if (!buf) {
		refuse(r, SCSI_HARDWARE_ERROR, SCSI_INTERNAL);
		return NULL;
	}
	read_into(u, r, buf, bytes);
	if (r->key == 0)
		return buf;
	free(buf);
	return NULL;
}

static void compare(struct bs_unit *u, struct bs_request *r)
{
	uint8_t *buf = read_again(u, r);

	if (buf && memcmp(buf, r->data, data_bytes(r)) != 0)
		refuse(r, SCSI_MISCOMPARE, SCSI_MISCOMPARED);
	free(buf);
}

/* ---- write --------------------------------------------------------------- */

static int sync_if(struct bs_unit *u, const struct bs_request *r, int code,
		   struct cfs_err *err)
{
	return code == 0 && r->is_durable ? cfs_io_sync(bs_unit_io(u), err)
					  : code;
}

static int put(struct bs_unit *u, struct bs_request *r, const void *buf,
	       uint32_t bytes)
{
	struct cfs_err err = CFS_ERR_INIT;
	int code = bytes ? cfs_io_write(bs_unit_io(u), r->offset_bytes, buf,
					bytes, &err)
			 : 0;

	code = sync_if(u, r, code, &err);
	if (code < 0)
		fail(u, r, true, code, &err);
	return code;
}

static void write_data(struct bs_unit *u, struct bs_request *r)
{
	bs_unit_begin_write(u, false);
	(void)put(u, r, r->data, data_bytes(r));
	bs_unit_end_write(u);
}

static void write_or(struct bs_unit *u, struct bs_request *r)
{
	uint8_t *buf;

	bs_unit_begin_write(u, true);
	buf = read_again(u, r);
	if (buf) {
		for (uint32_t i = 0; i < data_bytes(r); i++)
			buf[i] |= r->data[i];
		(void)put(u, r, buf, data_bytes(r));
	}
	bs_unit_end_write(u);
	free(buf);
}

/* ---- the same everywhere, or nothing ------------------------------------- */

static int discard(struct bs_unit *u, struct bs_request *r, uint64_t offset,
		   uint64_t length)
{
	struct cfs_err err = CFS_ERR_INIT;
	int code = cfs_io_discard(bs_unit_io(u), offset, length, &err);

	code = sync_if(u, r, code, &err);
	if (code < 0)
		fail(u, r, true, code, &err);
	return code;
}

static bool is_zero(const uint8_t *buf, uint32_t bytes)
{
	return bytes == 0 ||
	       (buf[0] == 0 && memcmp(buf, buf + 1, bytes - 1) == 0);
}

/* Pieces of one content; a piece is a multiple of any block. */
static int put_pieces(struct bs_unit *u, const struct bs_request *r,
		      const uint8_t *piece, struct cfs_err *err)
{
	uint64_t at = r->offset_bytes, left = r->length_bytes;
	int code = 0;

	while (code == 0 && left > 0) {
		const uint32_t n = (uint32_t)CFS_MIN(left,
						     (uint64_t)PIECE_BYTES);

		code = cfs_io_write(bs_unit_io(u), at, piece, n, err);
		at += n;
		left -= n;
	}
	return sync_if(u, r, code, err);
}

static void fill(struct bs_unit *u, struct bs_request *r)
{
	struct cfs_err err = CFS_ERR_INIT;
	uint8_t *buf = NULL;
	int code;

	if (r->data_bytes && !is_zero(r->data, r->data_bytes)) {
		buf = aligned_alloc(ALIGN_BYTES, PIECE_BYTES);
		if (!buf) {
			refuse(r, SCSI_HARDWARE_ERROR, SCSI_INTERNAL);
			return;
		}
		for (uint32_t at = 0; at < PIECE_BYTES; at += r->data_bytes)
			memcpy(buf + at, r->data, r->data_bytes);
	}
	code = put_pieces(u, r, buf ? buf : zeroes, &err);
	if (code < 0)
		fail(u, r, true, code, &err);
	free(buf);
}

static bool has_no_data(const struct bs_request *r)
{
	return r->op == SCSI_WRITE_SAME_16 && (r->flags & NO_DATA);
}

/* A hole where that is asked for and reads the same. */
static void write_same(struct bs_unit *u, struct bs_request *r)
{
	if (r->flags & NUMBERS) {
		refuse(r, SCSI_ILLEGAL_REQUEST, SCSI_INVALID_FIELD);
		return;
	}
	if (has_no_data(r))
		r->data_bytes = 0;
	else if (r->data_bytes != 1u << r->block_shift ||
		 r->data_bytes > PIECE_BYTES) {
		refuse(r, SCSI_ILLEGAL_REQUEST, SCSI_LIST_LENGTH);
		return;
	}
	bs_unit_begin_write(u, false);
	if ((r->flags & UNMAPS) && is_zero(r->data, r->data_bytes))
		(void)discard(u, r, r->offset_bytes, r->length_bytes);
	else
		fill(u, r);
	bs_unit_end_write(u);
}

/* ---- lists of ranges ----------------------------------------------------- */

static uint64_t get(const uint8_t *at, unsigned int bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | *at++;
	return value;
}

static void set(uint8_t *at, unsigned int bytes, uint64_t value)
{
	while (bytes--) {
		at[bytes] = (uint8_t)value;
		value >>= 8;
	}
}

/* Item @i of UNMAP, in bytes.  False: it is not on this unit. */
static bool get_range(const struct bs_request *r, uint32_t i,
		      uint64_t *ret_offset, uint64_t *ret_length)
{
	const uint8_t *item = r->data + LIST_HEAD + i * LIST_ITEM;
	const uint64_t lba = get(item, 8), blocks = get(item + 8, 4);
	const uint64_t all = r->size_bytes >> r->block_shift;

	*ret_offset = lba << r->block_shift;
	*ret_length = blocks << r->block_shift;
	return blocks == 0 || (lba <= all && blocks <= all - lba);
}

/* All of it or, if a part is wrong, nothing. */
static void unmap(struct bs_unit *u, struct bs_request *r)
{
	const uint32_t room = r->data_bytes < LIST_HEAD
				      ? 0
				      : r->data_bytes - LIST_HEAD;
	const uint32_t count = room ? (uint32_t)CFS_MIN((uint64_t)room,
							get(r->data + 2, 2)) /
					       LIST_ITEM
				    : 0;
	uint64_t offset, length;

	for (uint32_t i = 0; i < count; i++) {
		if (get_range(r, i, &offset, &length))
			continue;
		refuse(r, SCSI_ILLEGAL_REQUEST, SCSI_OUT_OF_RANGE);
		return;
	}
	bs_unit_begin_write(u, false);
	for (uint32_t i = 0; i < count; i++)
		if (get_range(r, i, &offset, &length) && length > 0 &&
		    discard(u, r, offset, length) < 0)
			break;
	bs_unit_end_write(u);
}

/* The run that begins at @offset: at most what an item can name. */
static int next_run(struct bs_unit *u, const struct bs_request *r,
		    uint64_t offset, bool *ret_is_data, uint64_t *ret_length,
		    struct cfs_err *err)
{
	const uint64_t most = (uint64_t)UINT32_MAX << r->block_shift;
	const uint64_t end = CFS_MIN(
		r->offset_bytes + r->length_bytes,
		offset + CFS_MIN(most, UINT64_MAX - offset));
	uint64_t at = offset, length = 0;
	bool is_data = false, more = false;
	int code = cfs_io_extent(bs_unit_io(u), at, end - at, &is_data, &length,
				 err);

	at += length;
	while (code == 0 && at < end) {
		code = cfs_io_extent(bs_unit_io(u), at, end - at, &more,
				     &length, err);
		if (code < 0 || more != is_data)
			break;
		at += length;
	}
	*ret_is_data = is_data;
	*ret_length = at - offset;
	return code;
}

/* As many items as there is room for. */
static void lba_status(struct bs_unit *u, struct bs_request *r)
{
	const uint64_t end = r->offset_bytes + r->length_bytes;
	struct cfs_err err = CFS_ERR_INIT;
	uint64_t at = r->offset_bytes, length = 0;
	uint32_t used = LIST_HEAD;
	bool is_data = false;
	int code = 0;

	while (at < end && r->data_bytes >= used + LIST_ITEM) {
		uint8_t *item = r->data + used;

		code = next_run(u, r, at, &is_data, &length, &err);
		if (code < 0)
			break;
		memset(item, 0, LIST_ITEM);
		set(item, 8, at >> r->block_shift);
		set(item + 8, 4, length >> r->block_shift);
		item[12] = is_data ? 0 : 1;
		used += LIST_ITEM;
		at += length;
	}
	if (code < 0) {
		fail(u, r, false, code, &err);
		return;
	}
	set(r->data, LIST_HEAD_MIN, used - LIST_HEAD_MIN);
	if (r->data_bytes >= LIST_HEAD)
		memset(r->data + LIST_HEAD_MIN, 0, LIST_HEAD - LIST_HEAD_MIN);
	r->used_bytes = CFS_MIN(used, r->data_bytes);
}

/* ---- commands ------------------------------------------------------------ */

static void sync_all(struct bs_unit *u, struct bs_request *r)
{
	struct cfs_err err = CFS_ERR_INIT;
	int code = cfs_io_sync(bs_unit_io(u), &err);

	if (code < 0)
		fail(u, r, true, code, &err);
}

static void write_verify(struct bs_unit *u, struct bs_request *r)
{
	write_data(u, r);
	if (r->key == 0)
		compare(u, r);
}

static void run(struct bs_unit *u, struct bs_request *r)
{
	switch (r->op) {
	case SCSI_READ_6:
	case SCSI_READ_10:
	case SCSI_READ_12:
	case SCSI_READ_16:
		read_into(u, r, r->data, data_bytes(r));
		break;
	case SCSI_WRITE_6:
	case SCSI_WRITE_10:
	case SCSI_WRITE_12:
	case SCSI_WRITE_16:
		write_data(u, r);
		break;
	case SCSI_WRITE_VERIFY_10:
	case SCSI_WRITE_VERIFY_12:
	case SCSI_WRITE_VERIFY_16:
		write_verify(u, r);
		break;
	case SCSI_VERIFY_10:
	case SCSI_VERIFY_12:
	case SCSI_VERIFY_16:
		compare(u, r);
		break;
	case SCSI_ORWRITE_16:
		write_or(u, r);
		break;
	case SCSI_WRITE_SAME_10:
	case SCSI_WRITE_SAME_16:
		write_same(u, r);
		break;
	case SCSI_UNMAP:
		unmap(u, r);
		break;
	case SCSI_SYNC_10:
	case SCSI_SYNC_16:
		sync_all(u, r);
		break;
	case SCSI_PREFETCH_10:
	case SCSI_PREFETCH_16: /* a hint */
		break;
	case SCSI_SERVICE_IN_16:
		lba_status(u, r);
		break;
	default: /* tgt knows what we said that we can */
		refuse(r, SCSI_ILLEGAL_REQUEST, SCSI_INVALID_FIELD);
		break;
	}
}

/* ---- several reads ------------------------------------------------------- */

bool bs_request_is_short_read(const struct bs_request *r)
{
	return data_bytes(r) <= SHORT_BYTES &&
	       (r->op == SCSI_READ_6 || r->op == SCSI_READ_10 ||
		r->op == SCSI_READ_12 || r->op == SCSI_READ_16);
}

/* What is not good is read once more, by itself, and tells why. */
void bs_requests_run(struct bs_unit *u, struct bs_request *const *list,
		     size_t count)
{
	struct cfs_io_part parts[BS_READS_MAX];

	if (count == 1) {
		run(u, list[0]);
		return;
	}
	for (size_t i = 0; i < count; i++)
		parts[i] = (struct cfs_io_part){
			.offset_bytes = list[i]->offset_bytes,
			.buf = list[i]->data,
			.length_bytes = data_bytes(list[i]),
		};
	if (cfs_io_read_many(bs_unit_io(u), parts, count, NULL) == 0)
		return;
	for (size_t i = 0; i < count; i++)
		if (parts[i].result < 0)
			run(u, list[i]);
}
