/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What tgtd calls.  All of it in tgtd's one thread: a store that is registered
 * once, units that are made of it and go, each with a volume that may be
 * opened and closed several times meanwhile (media that are changed).
 */
#include "tgt/module.h"

#include "tgt/bs.h"
#include "tgt/tgt.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_SECONDS 10u
#define BLOCK_BYTES  4096

/* Behind each unit. */
struct of_unit {
	struct bs_unit *unit; /* NULL: no volume */
	unsigned int wait_seconds;
};

static pid_t tgtd;

void bs_log(const char *fmt, ...)
{
	char line[CFS_ERR_BYTES + 128];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (log_error)
		log_error("cfs: %s\n", line);
}

static struct of_unit *of_unit(struct tgt_unit *unit)
{
	return (struct of_unit *)(unit + 1);
}

struct bs_unit **bs_unit_of(const struct tgt_cmd *cmd)
{
	return &of_unit(cmd->unit)->unit;
}

/* ---- units --------------------------------------------------------------- */

/* tgt's own GET LBA STATUS asks a file; ours asks the volume. */
static struct tgt_action *actions_of(const struct tgt_unit *unit)
{
	static struct tgt_action ours[8];
	const struct tgt_action *theirs =
		unit->kind.ops[SCSI_SERVICE_IN_16].actions;
	size_t n;

	for (n = 0; theirs[n].perform; n++) {
		if (n == sizeof(ours) / sizeof(*ours) - 1)
			return NULL;
		ours[n] = theirs[n];
		if (ours[n].code == SCSI_ACTION_LBA_STATUS)
			ours[n].perform = bs_cmd_lba_status;
	}
	ours[n] = (struct tgt_action){ .perform = NULL };
	return ours;
}

/* "wait=SECONDS" */
static bool take_options(struct of_unit *o, const char *options)
{
	static const char wait[] = "wait=";
	unsigned long value;
	char *end;

	o->wait_seconds = WAIT_SECONDS;
	if (!options || !*options)
		return true;
	if (strncmp(options, wait, sizeof(wait) - 1) != 0)
		return false;
	errno = 0;
	value = strtoul(options + sizeof(wait) - 1, &end, 10);
	o->wait_seconds = (unsigned int)value;
	return errno == 0 && end != options + sizeof(wait) - 1 && !*end &&
	       value <= 86400;
}

static int store_init(struct tgt_unit *unit, char *options)
{
	struct of_unit *o = of_unit(unit);
	struct tgt_action *actions;

	*o = (struct of_unit){ .unit = NULL };
	if (unit->kind.kind != 0) {
		bs_log("a LUN is a disk, no other device");
		return TGT_INVALID;
	}
	if (!take_options(o, options)) {
		bs_log("--bsopts %s: not wait=SECONDS", options);
		return TGT_INVALID;
	}
	actions = actions_of(unit);
	if (!actions)
		return TGT_INVALID;
	unit->kind.ops[SCSI_SERVICE_IN_16].actions = actions;
	return TGT_OK;
}

static void store_close(struct tgt_unit *unit)
{
	struct of_unit *o = of_unit(unit);

	bs_unit_close(o->unit);
	o->unit = NULL;
}

static void store_exit(struct tgt_unit *unit)
{
	store_close(unit);
}

static int store_open(struct tgt_unit *unit, char *path, int *ret_fd,
		      uint64_t *ret_size_bytes)
{
	struct of_unit *o = of_unit(unit);
	struct cfs_err err = CFS_ERR_INIT;
	sigset_t all, before;
	int r;

	/* Signals are for tgtd: the threads that are made now have none. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = bs_unit_open(path, o->wait_seconds, &o->unit, &err);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r < 0) {
		bs_log("%s: %s", path, err.msg);
		return -1;
	}
	if (!bs_unit_is_writable(o->unit))
		unit->attrs.is_readonly = 1;
	if (!unit->attrs.keeps_physical_shift)
		update_lbppbe(unit, BLOCK_BYTES);
	*ret_fd = -1;
	*ret_size_bytes = bs_unit_size_bytes(o->unit);
	return 0;
}

/* ---- the store ----------------------------------------------------------- */

static struct tgt_store store = {
	.name = "cfs",
	.data_bytes = sizeof(struct of_unit),
	.open = store_open,
	.close = store_close,
	.init = store_init,
	.exit = store_exit,
	.submit = bs_cmd_submit,
};

/* What initiators may ask of a unit; tgt answers most of it itself. */
static unsigned char ops[] = {
	0x00, /* TEST UNIT READY */
	0x03, /* REQUEST SENSE */
	0x04, /* FORMAT UNIT */
	SCSI_READ_6,
	SCSI_WRITE_6,
	0x12, /* INQUIRY */
	0x15, /* MODE SELECT */
	0x16, /* RESERVE */
	0x17, /* RELEASE */
	0x1a, /* MODE SENSE */
	0x1b, /* START STOP UNIT */
	0x1d, /* SEND DIAGNOSTIC */
	0x1e, /* PREVENT ALLOW MEDIUM REMOVAL */
	0x25, /* READ CAPACITY */
	SCSI_READ_10,
	SCSI_WRITE_10,
	SCSI_WRITE_VERIFY_10,
	SCSI_VERIFY_10,
	SCSI_PREFETCH_10,
	SCSI_SYNC_10,
	SCSI_WRITE_SAME_10,
	SCSI_UNMAP,
	0x55, /* MODE SELECT */
	0x5a, /* MODE SENSE */
	0x5e, /* PERSISTENT RESERVE IN */
	0x5f, /* PERSISTENT RESERVE OUT */
	SCSI_READ_16,
	SCSI_WRITE_16,
	SCSI_ORWRITE_16,
	SCSI_WRITE_VERIFY_16,
	SCSI_VERIFY_16,
	SCSI_PREFETCH_16,
	SCSI_SYNC_16,
	SCSI_WRITE_SAME_16,
	SCSI_SERVICE_IN_16,
	0xa0, /* REPORT LUNS */
	0xa3, /* MAINTENANCE IN */
	SCSI_READ_12,
	SCSI_WRITE_12,
	SCSI_WRITE_VERIFY_12,
	SCSI_VERIFY_12,
};

void register_bs_module(void)
{
	char why[BS_WHY_BYTES];
	int r;

	if (!get_backingstore_template || get_backingstore_template("cfs"))
		return;
	if (!bs_fits(why)) {
		bs_log("not used: %s", why);
		return;
	}
	r = bs_cmd_init();
	if (r < 0) {
		bs_log("not used: %s", strerror(-r));
		return;
	}
	tgtd = getpid();
	bs_create_opcode_map(&store, ops, sizeof(ops));
	register_backingstore_template(&store);
}

/* A child that tgtd has forked to run something may come by here, too. */
__attribute__((destructor)) static void end(void)
{
	if (tgtd == getpid())
		bs_pools_end();
}
