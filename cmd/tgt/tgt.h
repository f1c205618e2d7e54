/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What tgtd and a backing store of it know of each other: where things lie in
 * memory, and which of its functions we call.  tgt has no header for this and
 * promises nothing; these are the facts of the versions that fit.c names, under
 * names of our own.  fit.c looks whether they are those of the tgtd that has
 * loaded us, before anything else of this is used.
 *
 * Only what we read or write is named after what it is.  All of it belongs to
 * tgtd's one thread.
 *
 * The functions are weak, so that a tgtd that lacks one is told so in words.
 */
#pragma once

#include <stdint.h>

struct tgt_cmd;
struct tgt_target;
struct tgt_unit;

struct tgt_list {
	struct tgt_list *next, *prev;
};

/* ---- a command ----------------------------------------------------------- */

struct tgt_buffer {
	uint64_t address;
	uint32_t length_bytes;
	uint32_t used_bytes;
	int32_t residual_bytes;
};

#define TGT_SENSE_BYTES 252u
#define TGT_STATE_ASYNC (1ul << 2) /* target_cmd_io_done ends it */

struct tgt_cmd {
	struct tgt_target *target;
	struct tgt_list of_nexus, of_queue;
	uint64_t unit_id;
	struct tgt_unit *unit;
	unsigned long state;
	int direction;
	struct tgt_buffer in, out;
	uint64_t nexus_id;
	uint64_t offset_bytes;
	uint32_t length_bytes;
	uint8_t *cdb;
	int cdb_bytes;
	uint8_t lun[8];
	int attribute;
	uint64_t tag;
	int result;
	void *management;
	unsigned char sense[TGT_SENSE_BYTES];
	int sense_bytes;
	struct tgt_list of_store;
	void *nexus, *nexus_unit;
};

/* ---- kinds of units ------------------------------------------------------ */

typedef int tgt_perform_fn(int host, struct tgt_cmd *cmd);

/* A list of them ends with one that has no function. */
struct tgt_action {
	uint32_t code;
	tgt_perform_fn *perform;
};

struct tgt_op {
	tgt_perform_fn *perform;
	struct tgt_action *actions;
	uint8_t conflicts;
};

#define TGT_OPS 256u

struct tgt_kind {
	unsigned char kind; /* 0: a disk */
	int (*init)(struct tgt_unit *unit);
	void (*exit)(struct tgt_unit *unit);
	int (*config)(struct tgt_unit *unit, char *args);
	int (*online)(struct tgt_unit *unit);
	int (*offline)(struct tgt_unit *unit);
	tgt_perform_fn *passthrough;
	struct tgt_op ops[TGT_OPS];
	struct tgt_list siblings;
};

/* ---- backing stores ------------------------------------------------------ */

struct tgt_store {
	const char *name;
	int data_bytes; /* of ours, behind each unit */
	/* 0, or not. */
	int (*open)(struct tgt_unit *unit, char *path, int *ret_fd,
		    uint64_t *ret_size_bytes);
	void (*close)(struct tgt_unit *unit);
	/* TGT_OK, or what is wrong. */
	int (*init)(struct tgt_unit *unit, char *options);
	void (*exit)(struct tgt_unit *unit);
	/* 0: taken. */
	int (*submit)(struct tgt_cmd *cmd);
	int open_flags;
	unsigned long ops[TGT_OPS / (8 * sizeof(unsigned long))];
	struct tgt_list siblings;
};

enum { TGT_OK = 0, TGT_NO_MEMORY = 2, TGT_INVALID = 17 };

/* ---- units --------------------------------------------------------------- */

struct tgt_attrs {
	char scsi_id[37], scsi_sn[37];
	uint64_t numeric_id;
	char vendor[9], product[17], revision[5];
	uint16_t versions[8];
	unsigned char device_type;
	char qualifier, is_removable, is_readonly, is_protected, is_thin;
	char is_online, has_descriptor_sense;
	unsigned char physical_shift; /* blocks of a physical block */
	char keeps_physical_shift;
	uint16_t lowest_aligned, rotation_rate;
	void *pages[128];
};

struct tgt_unit {
	int fd;
	uint64_t address;
	uint64_t size_bytes;
	uint64_t lun;
	char *path;
	int open_flags;
	unsigned int block_shift;
	struct tgt_list siblings, nexus_units;
	int active;
	unsigned long queue_state;
	struct tgt_list queue;
	uint64_t reserved_by;
	struct tgt_kind kind;
	struct tgt_store *store;
	void *target;
	uint8_t block_descriptor[8];
	struct tgt_list mode_pages;
	struct tgt_attrs attrs;
	struct tgt_list registrations;
	uint32_t generation;
	void *holder;
	void *of_kind;
	int (*perform)(int tid, struct tgt_cmd *cmd);
	void (*done)(void *target, struct tgt_cmd *cmd);
};

/* As far as we know it. */
struct tgt_target {
	char *name;
	int tid, driver, state;
	struct tgt_list siblings, units;
};

struct tgt_mode_page {
	struct tgt_list siblings;
	uint8_t page, subpage;
	int16_t data_bytes;
	uint8_t data[];
};

/* What tgt's own stores have behind each unit. */
struct tgt_threads {
	void *threads;
	int count;
	uint64_t cond[6], mutex[5]; /* of pthread */
	struct tgt_list pending;
	void (*request)(struct tgt_cmd *cmd);
};

/* ---- what tgtd has for us ------------------------------------------------ */

#define TGT_WEAK __attribute__((weak))

TGT_WEAK void log_error(const char *fmt, ...)
	__attribute__((format(printf, 1, 2)));
TGT_WEAK int register_backingstore_template(struct tgt_store *store);
TGT_WEAK struct tgt_store *get_backingstore_template(const char *name);
TGT_WEAK void bs_create_opcode_map(struct tgt_store *store, unsigned char *ops,
				   int count);
TGT_WEAK int is_bs_support_opcode(struct tgt_store *store, int op);
TGT_WEAK int bs_thread_cmd_submit(struct tgt_cmd *cmd);
TGT_WEAK int bs_null_cmd_submit(struct tgt_cmd *cmd);
TGT_WEAK int device_type_register(struct tgt_kind *kind);
TGT_WEAK extern struct tgt_action sbc_service_actions[];
TGT_WEAK int add_mode_page(struct tgt_unit *unit, char *text);
TGT_WEAK struct tgt_mode_page *find_mode_page(struct tgt_unit *unit,
					      uint8_t page, uint8_t subpage);
TGT_WEAK void update_lbppbe(struct tgt_unit *unit, int block_bytes);
TGT_WEAK uint64_t scsi_rw_offset(uint8_t *cdb);
TGT_WEAK uint32_t scsi_rw_count(uint8_t *cdb);
TGT_WEAK void sense_data_build(struct tgt_cmd *cmd, uint8_t key, uint16_t asc);
TGT_WEAK void target_cmd_io_done(struct tgt_cmd *cmd, int result);
TGT_WEAK int tgt_event_add(int fd, int events,
			   void (*handler)(int fd, int events, void *data),
			   void *data);

/* ---- SCSI ---------------------------------------------------------------- */

enum {
	SCSI_READ_6 = 0x08,
	SCSI_WRITE_6 = 0x0a,
	SCSI_READ_10 = 0x28,
	SCSI_WRITE_10 = 0x2a,
	SCSI_WRITE_VERIFY_10 = 0x2e,
	SCSI_VERIFY_10 = 0x2f,
	SCSI_PREFETCH_10 = 0x34,
	SCSI_SYNC_10 = 0x35,
	SCSI_WRITE_SAME_10 = 0x41,
	SCSI_UNMAP = 0x42,
	SCSI_READ_16 = 0x88,
	SCSI_WRITE_16 = 0x8a,
	SCSI_ORWRITE_16 = 0x8b,
	SCSI_WRITE_VERIFY_16 = 0x8e,
	SCSI_VERIFY_16 = 0x8f,
	SCSI_PREFETCH_16 = 0x90,
	SCSI_SYNC_16 = 0x91,
	SCSI_WRITE_SAME_16 = 0x93,
	SCSI_SERVICE_IN_16 = 0x9e,
	SCSI_READ_12 = 0xa8,
	SCSI_WRITE_12 = 0xaa,
	SCSI_WRITE_VERIFY_12 = 0xae,
	SCSI_VERIFY_12 = 0xaf,
};

enum { SCSI_ACTION_CAPACITY = 0x10, SCSI_ACTION_LBA_STATUS = 0x12 };

enum { SCSI_GOOD = 0, SCSI_CHECK_CONDITION = 2, SCSI_CONFLICT = 0x18 };

/* Sense keys; 0: nothing is wrong. */
enum {
	SCSI_MEDIUM_ERROR = 3,
	SCSI_HARDWARE_ERROR = 4,
	SCSI_ILLEGAL_REQUEST = 5,
	SCSI_DATA_PROTECT = 7,
	SCSI_MISCOMPARE = 14,
};

/* Additional codes and their qualifiers. */
enum {
	SCSI_UNIT_COMMUNICATION = 0x0800,
	SCSI_WRITE_ERROR = 0x0c00,
	SCSI_READ_ERROR = 0x1100,
	SCSI_LIST_LENGTH = 0x1a00,
	SCSI_MISCOMPARED = 0x1d00,
	SCSI_OUT_OF_RANGE = 0x2100,
	SCSI_INVALID_FIELD = 0x2400,
	SCSI_WRITE_PROTECTED = 0x2700,
	SCSI_NO_SPACE = 0x2707,
	SCSI_INTERNAL = 0x4400,
};
