/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Commands.  What a request needs of one is read here, before tgtd goes on with
 * it, and how it went is written here, when it comes back: so the threads that
 * work on requests never touch a command, and tgt may write into it meanwhile,
 * as it does behind UNMAP.
 *
 * What is done comes back over a stack, which the first one on it announces on
 * an eventfd.  tgtd's loop is told of each announcement once (EPOLLET), so that
 * nothing has to be read; and it takes all that is there at a time.
 */
#include "tgt/bs.h"
#include "tgt/tgt.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FUA     0x08u
#define CACHING 0x08u /* a mode page */
#define CACHES  0x04u /* its bit WCE */

static struct bs_request *_Atomic done;
static int done_fd = -1;

/* ---- back to tgtd -------------------------------------------------------- */

void bs_cmds_done(struct bs_request *const *list, size_t count)
{
	struct bs_request *head = atomic_load_explicit(&done,
						       memory_order_relaxed);

	for (size_t i = 0; i + 1 < count; i++)
		list[i]->next = list[i + 1];
	do
		list[count - 1]->next = head;
	while (!atomic_compare_exchange_weak_explicit(&done, &head, list[0],
						      memory_order_release,
						      memory_order_relaxed));
	/* It can hold more announcements than there will ever be. */
	if (!head && eventfd_write(done_fd, 1) < 0)
		bs_log("an answer is not announced: %s", strerror(errno));
}

static void end_cmd(struct bs_request *r)
{
	struct tgt_cmd *cmd = r->cmd;
	const bool is_good = r->key == 0;

	/* tgt may have put some there meanwhile. */
	cmd->sense_bytes = 0;
	if (!is_good)
		sense_data_build(cmd, r->key, r->asc);
	else if (r->op == SCSI_SERVICE_IN_16) {
		cmd->in.used_bytes = r->used_bytes;
		cmd->in.residual_bytes = (int32_t)(cmd->in.length_bytes -
						   r->used_bytes);
	}
	free(r);
	target_cmd_io_done(cmd, is_good ? SCSI_GOOD : SCSI_CHECK_CONDITION);
}

/* Those that were done first are answered first. */
static void on_done(int fd, int events, void *data)
{
	struct bs_request *r = atomic_exchange_explicit(&done, NULL,
							memory_order_acquire);
	struct bs_request *first = NULL;

	(void)fd;
	(void)events;
	(void)data;
	while (r) {
		struct bs_request *next = r->next;

		r->next = first;
		first = r;
		r = next;
	}
	while (first) {
		r = first;
		first = r->next;
		end_cmd(r);
	}
}

int bs_cmd_init(void)
{
	int r;

	done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (done_fd < 0)
		return -errno;
	r = tgt_event_add(done_fd, (int)(EPOLLIN | EPOLLET), on_done, NULL);
	if (r == 0)
		return 0;
	close(done_fd);
	done_fd = -1;
	return r == -ENOMEM ? -ENOMEM : -EIO;
}

/* ---- from tgtd ----------------------------------------------------------- */

static bool is_read(uint8_t op)
{
	return op == SCSI_READ_6 || op == SCSI_READ_10 || op == SCSI_READ_12 ||
	       op == SCSI_READ_16;
}

static bool is_write(uint8_t op)
{
	switch (op) {
	case SCSI_WRITE_6:
	case SCSI_WRITE_10:
	case SCSI_WRITE_12:
	case SCSI_WRITE_16:
	case SCSI_WRITE_VERIFY_10:
	case SCSI_WRITE_VERIFY_12:
	case SCSI_WRITE_VERIFY_16:
	case SCSI_ORWRITE_16:
		return true;
	default:
		return false;
	}
}

static bool is_same(uint8_t op)
{
	return op == SCSI_WRITE_SAME_10 || op == SCSI_WRITE_SAME_16;
}

/* An initiator may have said that nothing is to be kept in memory. */
static bool is_cached(struct tgt_unit *unit)
{
	const struct tgt_mode_page *page = find_mode_page(unit, CACHING, 0);

	return page && (page->data[0] & CACHES);
}

static bool is_durable(const struct tgt_cmd *cmd, uint8_t op)
{
	if (is_write(op) && op != SCSI_WRITE_6 && (cmd->cdb[1] & FUA))
		return true;
	return (is_write(op) || is_same(op) || op == SCSI_UNMAP) &&
	       !is_cached(cmd->unit);
}

static struct bs_request *new_request(struct tgt_cmd *cmd)
{
	const struct tgt_unit *unit = cmd->unit;
	const uint8_t op = cmd->cdb[0];
	const struct tgt_buffer *b = is_read(op) || op == SCSI_SERVICE_IN_16
					     ? &cmd->in
					     : &cmd->out;
	struct bs_request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->cmd = cmd;
	r->op = op;
	r->flags = cmd->cdb[1];
	r->is_durable = is_durable(cmd, op);
	r->data = (uint8_t *)(uintptr_t)b->address;
	r->data_bytes = b->length_bytes;
	r->block_shift = unit->block_shift;
	r->size_bytes = unit->size_bytes;
	r->offset_bytes = scsi_rw_offset(cmd->cdb) << unit->block_shift;
	r->length_bytes = (uint64_t)scsi_rw_count(cmd->cdb)
			  << unit->block_shift;
	/* All that there is. */
	if (is_same(op) && r->length_bytes == 0)
		r->length_bytes = r->size_bytes - r->offset_bytes;
	return r;
}

/* An errno, which tgt takes for a failure wherever it looks. */
int bs_cmd_submit(struct tgt_cmd *cmd)
{
	struct bs_unit *u = *bs_unit_of(cmd);
	struct bs_request *r = u ? new_request(cmd) : NULL;

	if (!r)
		return EIO;
	cmd->state |= TGT_STATE_ASYNC;
	bs_unit_queue(u, r);
	return 0;
}

/* ---- GET LBA STATUS ------------------------------------------------------ */

static uint64_t big_endian(const uint8_t *at, unsigned int bytes)
{
	uint64_t value = 0;

	while (bytes--)
		value = value << 8 | *at++;
	return value;
}

static int refuse(struct tgt_cmd *cmd, uint16_t asc)
{
	cmd->in.used_bytes = 0;
	cmd->in.residual_bytes = (int32_t)cmd->in.length_bytes;
	sense_data_build(cmd, SCSI_ILLEGAL_REQUEST, asc);
	return SCSI_CHECK_CONDITION;
}

int bs_cmd_lba_status(int host, struct tgt_cmd *cmd)
{
	const struct tgt_unit *unit = cmd->unit;
	const uint64_t lba = big_endian(cmd->cdb + 2, 8);
	const uint32_t room = (uint32_t)big_endian(cmd->cdb + 10, 4);
	struct bs_request *r;

	(void)host;
	if (lba >= unit->size_bytes >> unit->block_shift)
		return refuse(cmd, SCSI_OUT_OF_RANGE);
	if (room < 4 || cmd->in.length_bytes < room)
		return refuse(cmd, SCSI_INVALID_FIELD);
	r = *bs_unit_of(cmd) ? new_request(cmd) : NULL;
	if (!r) {
		sense_data_build(cmd, SCSI_HARDWARE_ERROR, SCSI_INTERNAL);
		return SCSI_CHECK_CONDITION;
	}
	r->data_bytes = room;
	r->offset_bytes = lba << unit->block_shift;
	r->length_bytes = unit->size_bytes - r->offset_bytes;
	cmd->state |= TGT_STATE_ASYNC;
	bs_unit_queue(*bs_unit_of(cmd), r);
	return SCSI_GOOD;
}
