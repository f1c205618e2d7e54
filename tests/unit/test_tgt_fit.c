/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Our store trusts a tgtd only if all is where it looks for it.  The tgtd here
 * is made up, in as much as is tried; each case moves one thing, as a tgtd of
 * other sources would have it, or takes a function away that was meant.
 *
 * Asked with -V, the program answers as tgtd does: its child asks for that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tgt/bs.h"
#include "tgt/tgt.h"

/* What is elsewhere. */
static enum {
	NOTHING,
	STORE_LIST,
	STORE_DATA,
	KIND_LIST,
	SENSE,
	SENSE_FORMAT,
	OFFSET,
	LENGTH,
	OUT,
	IN,
	LUN_SIZE,
	READONLY,
	RESERVED,
	THIN,
	PHYSICAL,
	CAPACITY,
	MODE_PAGE,
	UNIT_BYTES,
	STATE,
	CRASH,
} wrong;

static size_t moved(int what)
{
	return (int)wrong == what ? 8 : 0;
}

/* A member of @s, or what lies behind it. */
#define AT(what, member)                                                       \
	((__typeof__(&(member)))(void *)((char *)&(member) + moved(what)))

/* ---- a tgtd -------------------------------------------------------------- */

static struct tgt_list stores = { &stores, &stores };
static struct tgt_list kinds = { &kinds, &kinds };

static void list_add(struct tgt_list *at, struct tgt_list *list)
{
	if (!list->next)
		abort();
	at->next = list->next;
	at->prev = list;
	list->next->prev = at;
	list->next = at;
}

int register_backingstore_template(struct tgt_store *store)
{
	list_add(AT(STORE_LIST, store->siblings), &stores);
	return 0;
}

struct tgt_store *get_backingstore_template(const char *name)
{
	for (struct tgt_list *l = stores.next; l != &stores; l = l->next) {
		struct tgt_store *s = (void *)((char *)l -
					       offsetof(struct tgt_store,
							siblings));

		if (strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

void bs_create_opcode_map(struct tgt_store *store, unsigned char *ops,
			  int count)
{
	for (int i = 0; i < count; i++)
		store->ops[ops[i] / 64] |= 1ul << ops[i] % 64;
}

int is_bs_support_opcode(struct tgt_store *store, int op)
{
	return (store->ops[op / 64] >> op % 64 & 1) != 0;
}

int bs_null_cmd_submit(struct tgt_cmd *cmd)
{
	(void)cmd;
	return 0;
}

int bs_thread_cmd_submit(struct tgt_cmd *cmd)
{
	char *behind = (char *)(cmd->unit + 1) + moved(UNIT_BYTES);
	struct tgt_threads *threads = (void *)behind;

	if (!threads->pending.next)
		raise(SIGSEGV);
	list_add(&cmd->of_store, &threads->pending);
	cmd->state |= wrong == STATE ? 1 : TGT_STATE_ASYNC;
	return 0;
}

int device_type_register(struct tgt_kind *kind)
{
	list_add(AT(KIND_LIST, kind->siblings), &kinds);
	return 0;
}

int add_mode_page(struct tgt_unit *unit, char *text)
{
	static union {
		struct tgt_mode_page page;
		uint8_t room[64];
	} u;
	char *rest = text;

	u.page.page = (uint8_t)strtoul(rest, &rest, 0);
	u.page.subpage = (uint8_t)strtoul(rest + 1, &rest, 0);
	u.page.data_bytes = (int16_t)strtoul(rest + 1, &rest, 0);
	for (size_t i = moved(MODE_PAGE); *rest; i++)
		u.page.data[i] = (uint8_t)strtoul(rest + 1, &rest, 0);
	list_add(&u.page.siblings, &unit->mode_pages);
	return 0;
}

struct tgt_mode_page *find_mode_page(struct tgt_unit *unit, uint8_t page,
				     uint8_t subpage)
{
	struct tgt_mode_page *p = (void *)unit->mode_pages.next;

	return p->page == page && p->subpage == subpage ? p : NULL;
}

void update_lbppbe(struct tgt_unit *unit, int block_bytes)
{
	unsigned char *at = AT(PHYSICAL, unit->attrs.physical_shift);

	for (*at = 0; block_bytes > 1 << unit->block_shift; block_bytes /= 2)
		++*at;
}

uint64_t scsi_rw_offset(uint8_t *cdb)
{
	return (uint64_t)cdb[2] << 24 | (uint64_t)cdb[3] << 16 |
	       (uint64_t)cdb[4] << 8 | cdb[5];
}

uint32_t scsi_rw_count(uint8_t *cdb)
{
	return (uint32_t)cdb[7] << 8 | cdb[8];
}

void sense_data_build(struct tgt_cmd *cmd, uint8_t key, uint16_t asc)
{
	unsigned char *sense = *AT(SENSE, cmd->sense);

	if (*AT(SENSE_FORMAT, cmd->unit->attrs.has_descriptor_sense)) {
		sense[0] = 0x72;
		sense[1] = key;
		cmd->sense_bytes = 8;
		return;
	}
	sense[0] = 0x70;
	sense[2] = key;
	sense[12] = (unsigned char)(asc >> 8);
	sense[13] = (unsigned char)asc;
	cmd->sense_bytes = 18;
}

void target_cmd_io_done(struct tgt_cmd *cmd, int result)
{
	(void)cmd;
	(void)result;
}

int tgt_event_add(int fd, int events,
		  void (*handler)(int fd, int events, void *data), void *data)
{
	(void)fd;
	(void)events;
	(void)handler;
	(void)data;
	return 0;
}

/* ---- its disks ----------------------------------------------------------- */

static int refuse(struct tgt_cmd *cmd, uint8_t key, uint16_t asc)
{
	sense_data_build(cmd, key, asc);
	return SCSI_CHECK_CONDITION;
}

static bool is_reserved(const struct tgt_cmd *cmd)
{
	const struct tgt_list *l = cmd->target->units.next;
	const struct tgt_unit *unit = (const void *)((const char *)l -
						     offsetof(struct tgt_unit,
							      siblings));
	const uint64_t by = *AT(RESERVED, unit->reserved_by);

	return unit->lun == cmd->unit->lun && by && by != cmd->nexus_id;
}

static void set_residual(struct tgt_buffer *b, uint32_t bytes)
{
	b->residual_bytes = (int32_t)(b->length_bytes - bytes);
	b->used_bytes = bytes < b->length_bytes ? bytes : b->length_bytes;
}

static int rw(int host, struct tgt_cmd *cmd)
{
	const struct tgt_unit *unit = cmd->unit;
	const uint64_t lba = scsi_rw_offset(cmd->cdb);
	const uint32_t count = scsi_rw_count(cmd->cdb);
	const uint32_t bytes = count << unit->block_shift;

	(void)host;
	if (wrong == CRASH)
		raise(SIGSEGV);
	if (is_reserved(cmd))
		return SCSI_CONFLICT;
	if (cmd->cdb[0] == SCSI_WRITE_10 &&
	    *AT(READONLY, unit->attrs.is_readonly))
		return refuse(cmd, SCSI_DATA_PROTECT, SCSI_WRITE_PROTECTED);
	if (lba + count > *AT(LUN_SIZE, unit->size_bytes) >> unit->block_shift)
		return refuse(cmd, SCSI_ILLEGAL_REQUEST, SCSI_OUT_OF_RANGE);
	*AT(OFFSET, cmd->offset_bytes) = lba << unit->block_shift;
	*AT(LENGTH, cmd->length_bytes) = bytes;
	if (cmd->cdb[0] == SCSI_READ_10)
		set_residual(AT(IN, cmd->in), bytes);
	if (cmd->cdb[0] == SCSI_WRITE_10) {
		set_residual(AT(OUT, cmd->out), bytes);
		cmd->out.length_bytes = bytes;
	}
	return unit->store->submit(cmd);
}

static int unmap(int host, struct tgt_cmd *cmd)
{
	(void)host;
	return *AT(THIN, cmd->unit->attrs.is_thin)
		       ? cmd->unit->store->submit(cmd)
		       : SCSI_CHECK_CONDITION;
}

static int capacity(int host, struct tgt_cmd *cmd)
{
	uint8_t *to = (uint8_t *)(uintptr_t)cmd->in.address;
	const uint64_t last =
		(cmd->unit->size_bytes >> cmd->unit->block_shift) - 1;

	(void)host;
	memset(to, 0, 32);
	for (unsigned int i = 0; i < 8; i++)
		to[i] = (uint8_t)(last >> (56 - 8 * i));
	to[10] = (uint8_t)(1u << (cmd->unit->block_shift - 8));
	to[13] = cmd->unit->attrs.physical_shift;
	to[14] = wrong == CAPACITY ? 0 : 0xc0;
	return SCSI_GOOD;
}

static int actions(int host, struct tgt_cmd *cmd)
{
	const struct tgt_action *a =
		cmd->unit->kind.ops[SCSI_SERVICE_IN_16].actions;

	return a->perform(host, cmd);
}

struct tgt_action sbc_service_actions[] = {
	{ SCSI_ACTION_CAPACITY, capacity },
	{ SCSI_ACTION_LBA_STATUS, capacity },
	{ 0, NULL },
};

static struct tgt_store rdwr = {
	.name = "rdwr",
	.data_bytes = sizeof(struct tgt_threads),
	.submit = bs_thread_cmd_submit,
	.open_flags = O_SYNC | O_DIRECT,
};
static struct tgt_store null = { .name = "null", .submit = bs_null_cmd_submit };
static struct tgt_kind disk;

static int setup(void **state)
{
	(void)state;
	list_add(&rdwr.siblings, &stores);
	list_add(&null.siblings, &stores);
	disk.ops[SCSI_READ_10].perform = rw;
	disk.ops[SCSI_WRITE_10].perform = rw;
	disk.ops[SCSI_UNMAP].perform = unmap;
	disk.ops[SCSI_SERVICE_IN_16].perform = actions;
	disk.ops[SCSI_SERVICE_IN_16].actions = sbc_service_actions;
	list_add(&disk.siblings, &kinds);
	return 0;
}

/* ---- cases --------------------------------------------------------------- */

static void test_known(void **state)
{
	char why[BS_WHY_BYTES];

	(void)state;
	setenv("TGT_TEST_VERSION", "1.0.85", 1);
	if (!bs_fits(why))
		fail_msg("%s", why);
	/* Nothing of the trial is left. */
	assert_null(get_backingstore_template("trial"));
	assert_ptr_equal(kinds.next, &disk.siblings);
	assert_ptr_equal(kinds.prev, &disk.siblings);
}

static void test_version(void **state)
{
	static const char *const others[] = { "1.0.99", "1.0.8", "1.0.855",
					      "" };
	char why[BS_WHY_BYTES], wanted[BS_WHY_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		setenv("TGT_TEST_VERSION", others[i], 1);
		assert_false(bs_fits(why));
		(void)snprintf(wanted, sizeof(wanted),
			       "tgtd is version %s, which this store does not "
			       "know",
			       *others[i] ? others[i] : "(unknown)");
		assert_string_equal(why, wanted);
	}
	setenv("TGT_TEST_VERSION", "1.0.85", 1);
}

static void check_wrong(int what, const char *noun)
{
	char why[BS_WHY_BYTES];

	wrong = what;
	if (bs_fits(why))
		fail_msg("case %d was not seen", what);
	wrong = NOTHING;
	if (!strstr(why, noun))
		fail_msg("case %d: %s", what, why);
}

static void test_layout(void **state)
{
	(void)state;
	check_wrong(STORE_LIST, "a store");
	check_wrong(KIND_LIST, "a kind of devices");
	check_wrong(SENSE, "sense data");
	check_wrong(SENSE_FORMAT, "sense data");
	check_wrong(OFFSET, "a command");
	check_wrong(LENGTH, "a command");
	check_wrong(OUT, "a command");
	check_wrong(IN, "a command");
	check_wrong(LUN_SIZE, "lies elsewhere");
	check_wrong(READONLY, "a unit");
	check_wrong(RESERVED, "a unit");
	check_wrong(THIN, "a unit");
	check_wrong(PHYSICAL, "a unit");
	check_wrong(CAPACITY, "a service action");
	check_wrong(MODE_PAGE, "a mode page");
	check_wrong(UNIT_BYTES, "another size");
	check_wrong(STATE, "another size");
	rdwr.data_bytes += 8;
	check_wrong(STORE_DATA, "a store");
	rdwr.data_bytes -= 8;
}

static void test_crash(void **state)
{
	(void)state;
	check_wrong(CRASH, "a command lies elsewhere in its memory (signal ");
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_version),
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_crash),
	};

	if (argc == 2 && strcmp(argv[1], "-V") == 0) {
		puts(getenv("TGT_TEST_VERSION"));
		return 0;
	}
	return cmocka_run_group_tests(tests, setup, NULL);
}
