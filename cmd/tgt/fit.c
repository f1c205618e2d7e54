/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tgtd promises its stores nothing, so before we become part of one we look
 * whether it is what tgt.h says.  First its version, as its program tells it:
 * what its functions mean is known of those that we were run with.  Then where
 * things lie, which the compiler and its options have a say in, too: commands
 * and units are made up here, tgtd's own functions are called on them, and what
 * they did must stand where we would read it, and what we wrote must have been
 * understood.
 *
 * That is done in a child, with one thread, before tgtd has more.  If a guess
 * is wrong enough it dies, and nothing else does.  It touches memory alone: the
 * descriptors that it shares with tgtd it leaves as they are.
 */
#include "tgt/bs.h"
#include "tgt/tgt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIAL_SECONDS 20u
/* A command or a unit, however large tgtd's may be. */
#define ROOM_BYTES    65536u
#define LUN_BYTES     (UINT64_C(1) << 30)
#define SHIFT         9u
#define LBA           UINT64_C(0x1234)

/* Those that all of this was run with. */
static const char *const versions[] = { "1.0.85" };

/* What the child is at; shared with its parent, which reads it when the child
 * is gone. */
static char *step;

#define STEP(text)                                                             \
	do {                                                                   \
		(void)snprintf(step, BS_WHY_BYTES, "%s", (text));              \
	} while (0)

/* ---- the version --------------------------------------------------------- */

/* In the child: its program, asked. */
static bool version_is_known(void)
{
	FILE *f = popen("exec /proc/$PPID/exe -V 2>/dev/null", "re");
	char line[64] = "";
	bool is_known = false;

	STEP("tgtd: its version cannot be asked");
	if (!f)
		return false;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	(void)pclose(f);
	for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++)
		is_known = is_known || strcmp(line, versions[i]) == 0;
	(void)snprintf(step, BS_WHY_BYTES,
		       "tgtd is version %s, which this store does not know",
		       *line ? line : "(unknown)");
	return is_known;
}

static bool has_functions(void)
{
	STEP("tgtd lacks functions that this store calls");
	return register_backingstore_template && get_backingstore_template &&
	       bs_create_opcode_map && is_bs_support_opcode &&
	       bs_thread_cmd_submit && bs_null_cmd_submit &&
	       device_type_register && sbc_service_actions && add_mode_page &&
	       find_mode_page && update_lbppbe && scsi_rw_offset &&
	       scsi_rw_count && sense_data_build && target_cmd_io_done &&
	       tgt_event_add;
}

/* ---- made up ------------------------------------------------------------- */

static struct {
	union {
		struct tgt_unit unit;
		uint8_t room[ROOM_BYTES];
	};
	union {
		struct tgt_cmd cmd;
		uint8_t cmd_room[ROOM_BYTES];
	};
	struct tgt_target target;
	uint8_t cdb[16];
	uint8_t data[8192];
	struct tgt_store store;
	struct tgt_kind kind; /* a stranger, in tgtd's list of them */
	unsigned int submits;
} t;

static int submit(struct tgt_cmd *cmd)
{
	t.submits += cmd == &t.cmd;
	return 0;
}

/* @cmd has no data yet. */
static void make_cmd(uint8_t op)
{
	memset(t.cmd_room, 0, sizeof(t.cmd_room));
	memset(t.cdb, 0, sizeof(t.cdb));
	t.cmd.target = &t.target;
	t.cmd.unit = &t.unit;
	t.cmd.cdb = t.cdb;
	t.cmd.cdb_bytes = sizeof(t.cdb);
	t.cdb[0] = op;
	t.submits = 0;
}

static void make_unit(const struct tgt_kind *disk)
{
	memset(t.room, 0, sizeof(t.room));
	t.unit.kind = *disk;
	t.unit.store = &t.store;
	t.unit.size_bytes = LUN_BYTES;
	t.unit.block_shift = SHIFT;
	t.unit.attrs.is_online = 1;
	t.unit.attrs.is_thin = 1;
	t.unit.lun = 1;
	t.unit.mode_pages.next = &t.unit.mode_pages;
	t.unit.mode_pages.prev = &t.unit.mode_pages;
	t.target.units.next = &t.unit.siblings;
	t.target.units.prev = &t.unit.siblings;
	t.unit.siblings.next = &t.target.units;
	t.unit.siblings.prev = &t.target.units;
}

static struct tgt_buffer a_buffer(uint32_t bytes)
{
	return (struct tgt_buffer){
		.address = (uintptr_t)t.data,
		.length_bytes = bytes,
	};
}

static int run(uint8_t op)
{
	return t.unit.kind.ops[op].perform(0, &t.cmd);
}

static bool has_sense(uint8_t key, uint16_t asc)
{
	return t.cmd.sense_bytes == 18 && t.cmd.sense[0] == 0x70 &&
	       t.cmd.sense[2] == key && t.cmd.sense[12] == asc >> 8 &&
	       t.cmd.sense[13] == (asc & 0xff);
}

/* ---- trials -------------------------------------------------------------- */

static bool stores_fit(void)
{
	static unsigned char ops[] = { 0x00, SCSI_READ_10, 0xfd };
	const struct tgt_store *s;

	STEP("a store lies elsewhere in its memory");
	s = get_backingstore_template("rdwr");
	if (!s || strcmp(s->name, "rdwr") != 0 ||
	    s->submit != bs_thread_cmd_submit ||
	    s->data_bytes != (int)sizeof(struct tgt_threads) ||
	    s->open_flags != (O_SYNC | O_DIRECT))
		return false;
	s = get_backingstore_template("null");
	if (!s || s->submit != bs_null_cmd_submit)
		return false;
	t.store.name = "trial";
	t.store.submit = submit;
	bs_create_opcode_map(&t.store, ops, sizeof(ops));
	if (!is_bs_support_opcode(&t.store, 0xfd) ||
	    is_bs_support_opcode(&t.store, 0xfc) || t.store.siblings.next)
		return false;
	register_backingstore_template(&t.store);
	return get_backingstore_template("trial") == &t.store &&
	       get_backingstore_template("null") == s;
}

/* The list of kinds is tgtd's own; who joins it can look around. */
static const struct tgt_kind *find_disk(void)
{
	const struct tgt_list *at;

	STEP("a kind of devices lies elsewhere in its memory");
	t.kind.kind = 0x1f;
	device_type_register(&t.kind);
	for (at = t.kind.siblings.next; at && at != &t.kind.siblings;
	     at = at->next) {
		const struct tgt_kind *k =
			(const void *)((const char *)at -
				       offsetof(struct tgt_kind, siblings));

		if (k->ops[SCSI_SERVICE_IN_16].actions == sbc_service_actions)
			return k->kind == 0 ? k : NULL;
	}
	return NULL;
}

static bool sense_fits(void)
{
	STEP("sense data lies elsewhere in its memory");
	make_cmd(SCSI_READ_10);
	sense_data_build(&t.cmd, SCSI_MEDIUM_ERROR, SCSI_NO_SPACE);
	if (!has_sense(SCSI_MEDIUM_ERROR, SCSI_NO_SPACE))
		return false;
	t.unit.attrs.has_descriptor_sense = 1;
	sense_data_build(&t.cmd, SCSI_MISCOMPARE, SCSI_READ_ERROR);
	t.unit.attrs.has_descriptor_sense = 0;
	return t.cmd.sense[0] == 0x72 && t.cmd.sense[1] == SCSI_MISCOMPARE &&
	       t.cmd.sense_bytes == 8;
}

static void set_cdb_10(uint64_t lba, unsigned int blocks)
{
	for (unsigned int i = 0; i < 4; i++)
		t.cdb[2 + i] = (uint8_t)(lba >> (24 - 8 * i));
	t.cdb[7] = (uint8_t)(blocks >> 8);
	t.cdb[8] = (uint8_t)blocks;
}

/* A write of more bytes than the command names, a read of fewer. */
static bool rw_fits(void)
{
	STEP("a command lies elsewhere in its memory");
	make_cmd(SCSI_WRITE_10);
	set_cdb_10(LBA, 8);
	t.cmd.out = a_buffer(8192);
	if (scsi_rw_offset(t.cdb) != LBA || scsi_rw_count(t.cdb) != 8 ||
	    run(SCSI_WRITE_10) != SCSI_GOOD || t.submits != 1 ||
	    t.cmd.offset_bytes != LBA << SHIFT || t.cmd.length_bytes != 4096 ||
	    t.cmd.out.length_bytes != 4096 ||
	    t.cmd.out.residual_bytes != 4096 || t.cmd.out.used_bytes != 4096)
		return false;
	make_cmd(SCSI_READ_10);
	set_cdb_10(LBA, 8);
	t.cmd.in = a_buffer(512);
	return run(SCSI_READ_10) == SCSI_GOOD && t.submits == 1 &&
	       t.cmd.in.length_bytes == 512 && t.cmd.in.used_bytes == 512 &&
	       t.cmd.in.residual_bytes == 512 - 4096;
}

/* What units are like decides what becomes of commands. */
static bool units_fit(void)
{
	STEP("a unit lies elsewhere in its memory");
	make_cmd(SCSI_READ_10);
	set_cdb_10((LUN_BYTES >> SHIFT) - 7, 8);
	if (run(SCSI_READ_10) != SCSI_CHECK_CONDITION || t.submits ||
	    !has_sense(SCSI_ILLEGAL_REQUEST, SCSI_OUT_OF_RANGE))
		return false;
	make_cmd(SCSI_WRITE_10);
	set_cdb_10(LBA, 8);
	t.unit.attrs.is_readonly = 1;
	if (run(SCSI_WRITE_10) != SCSI_CHECK_CONDITION || t.submits ||
	    !has_sense(SCSI_DATA_PROTECT, SCSI_WRITE_PROTECTED))
		return false;
	t.unit.attrs.is_readonly = 0;
	t.unit.reserved_by = 5;
	t.cmd.nexus_id = 6;
	if (run(SCSI_WRITE_10) != SCSI_CONFLICT || t.submits)
		return false;
	t.cmd.nexus_id = 5;
	if (run(SCSI_WRITE_10) != SCSI_GOOD || t.submits != 1)
		return false;
	t.unit.reserved_by = 0;
	make_cmd(SCSI_UNMAP);
	t.unit.attrs.is_thin = 0;
	(void)run(SCSI_UNMAP);
	if (t.submits)
		return false;
	t.unit.attrs.is_thin = 1;
	(void)run(SCSI_UNMAP);
	update_lbppbe(&t.unit, 8192);
	return t.submits == 1 && t.unit.attrs.physical_shift == 4;
}

static bool capacity_fits(void)
{
	static const uint8_t wanted[] = { 0, 0, 0, 0, 0, 0x1f, 0xff, 0xff,
					  0, 0, 2, 0, 0, 4,    0xc0, 0 };
	const struct tgt_action *a = sbc_service_actions;

	STEP("a service action lies elsewhere in its memory");
	while (a->perform && a->code != SCSI_ACTION_CAPACITY)
		a++;
	make_cmd(SCSI_SERVICE_IN_16);
	t.cdb[1] = SCSI_ACTION_CAPACITY;
	t.cdb[13] = 32;
	t.cmd.in = a_buffer(32);
	memset(t.data, 0xff, sizeof(t.data));
	return a->perform && a[1].code == SCSI_ACTION_LBA_STATUS &&
	       a->perform(0, &t.cmd) == SCSI_GOOD &&
	       memcmp(t.data, wanted, sizeof(wanted)) == 0 &&
	       run(SCSI_SERVICE_IN_16) == SCSI_GOOD;
}

static bool mode_pages_fit(void)
{
	static char text[] = "8:0:18:0x14:0:0xff:0xff:0:0:"
			     "0xff:0xff:0xff:0xff:0x80:0x14:0:0:0:0:0:0";
	const struct tgt_mode_page *page;

	STEP("a mode page lies elsewhere in its memory");
	if (add_mode_page(&t.unit, text))
		return false;
	page = find_mode_page(&t.unit, 8, 0);
	return page && page->page == 8 && page->subpage == 0 &&
	       page->data_bytes == 18 && page->data[0] == 0x14 &&
	       page->data[10] == 0x80;
}

/* tgt's own queue begins where a unit ends. */
static bool queue_fits(void)
{
	struct tgt_threads *threads = (void *)(t.room + sizeof(t.unit));

	STEP("a unit has another size");
	memset(threads, 0, sizeof(*threads));
	threads->pending.next = &threads->pending;
	threads->pending.prev = &threads->pending;
	make_cmd(SCSI_READ_10);
	return bs_thread_cmd_submit(&t.cmd) == 0 &&
	       threads->pending.next == &t.cmd.of_store &&
	       t.cmd.of_store.next == &threads->pending &&
	       t.cmd.state == TGT_STATE_ASYNC;
}

static bool trial(void)
{
	const struct tgt_kind *disk;

	if (!version_is_known() || !has_functions() || !stores_fit())
		return false;
	disk = find_disk();
	if (!disk)
		return false;
	make_unit(disk);
	return sense_fits() && rw_fits() && units_fit() && capacity_fits() &&
	       mode_pages_fit() && queue_fits();
}

/* ---- the child ----------------------------------------------------------- */

/* Quiet, whatever becomes of it. */
static void __attribute__((noreturn)) be_child(void)
{
	static const int fatal[] = { SIGSEGV, SIGBUS,  SIGILL, SIGABRT,
				     SIGFPE,  SIGALRM, SIGPIPE };
	const struct rlimit no_core = { 0, 0 };

	for (size_t i = 0; i < sizeof(fatal) / sizeof(*fatal); i++)
		(void)signal(fatal[i], SIG_DFL);
	(void)setrlimit(RLIMIT_CORE, &no_core);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)alarm(TRIAL_SECONDS);
	_exit(trial() ? 0 : 1);
}

bool bs_fits(char why[BS_WHY_BYTES])
{
	int status = 0, r;
	pid_t pid;

	step = mmap(NULL, BS_WHY_BYTES, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = step == MAP_FAILED ? -1 : fork();
	if (pid == 0)
		be_child();
	if (pid < 0) {
		(void)snprintf(why, BS_WHY_BYTES, "no process to try it in: %s",
			       strerror(errno));
		if (step != MAP_FAILED)
			(void)munmap(step, BS_WHY_BYTES);
		return false;
	}
	do
		r = waitpid(pid, &status, 0);
	while (r < 0 && errno == EINTR);
	if (r == pid && WIFSIGNALED(status))
		(void)snprintf(why, BS_WHY_BYTES, "%.200s (signal %d)", step,
			       WTERMSIG(status));
	else
		(void)snprintf(why, BS_WHY_BYTES, "%.200s", step);
	(void)munmap(step, BS_WHY_BYTES);
	return r == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
