/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The world of whole.c: who there is, what they can do, and what is remembered
 * of what they did.
 *
 * All that is kept are registers: some single blocks and some long runs of a
 * LUN, and two directories with what is in their files.  Each write has a
 * number of its own, which is found again in what is read: in each block of a
 * LUN, and as the newest time in a directory.  Every access goes into the
 * history of its register (sim_linear.h): a write ends when its sync or fold is
 * acknowledged.
 */
#pragma once

#include "whole_process.h"

#include "../unit/shared_fixture.h"
#include "../unit/client_fixture.h"
#include "lease/client.h"
#include "lease/owner.h"
#include "lease/period.h"
#include "sim_linear.h"

#define CLIENTS     3u
#define BOSSES      7u
#define TROUBLED    4u /* bosses that may fall */
#define PARTS       3u /* of the LUN */
#define PART_BLOCKS 36u
#define SINGLES     2u /* registers of one block in a part */
#define LUN_REGS    (PARTS * (SINGLES + 1))
#define DIRS        2u
#define REGS        (LUN_REGS + DIRS)
#define RESOURCES   (PARTS + DIRS + 1)
#define R_LUN       (PARTS + DIRS) /* all of the LUN */
#define NAMES       4u             /* in a directory */
#define CHUNKS      4u             /* in a file */
#define CHUNK_BYTES 1500u
#define TOKENS      3u
#define DIRTY_MAX   64u
#define SNAPS_MAX   6u
#define NO_DEVICE   UINT32_MAX
#define BORN_NS     1u /* when what a seed begins with was made */

enum counter {
	COUNT_GRANT,
	COUNT_WRITE,
	COUNT_RUN,
	COUNT_READ,
	COUNT_NAME,
	COUNT_RENAME,
	COUNT_LOOK,
	COUNT_SYNC,
	COUNT_FOLD,
	COUNT_RECALL,
	COUNT_EXPIRE,
	COUNT_REVOKE,
	COUNT_SEAL,
	COUNT_TAKEOVER,
	COUNT_ZOMBIE,
	COUNT_RECLAIM,
	COUNT_CRASH,
	COUNT_LATE,
	COUNT_GONE,
	COUNT_CUT,
	COUNT_SNAPSHOT,
	COUNT_ROLLBACK,
	COUNT_CLONE,
	COUNT_CHURN,
	COUNT_REFUSED,
	COUNT_STOPPED,
	COUNT_CHECK,
	COUNT_NOT_KNOWN,
};

struct whole;

/* One who reads and writes: a client, or the manager for itself. */
struct token {
	struct cfs_lease *lease;
	unsigned int resource;
	bool has_looked;
	unsigned int left; /* accesses */
};

struct dirty {
	unsigned int reg;
	size_t at; /* in its history */
	uint64_t value;
};

struct actor {
	struct whole *w;
	struct process *p;
	struct cfs_lease_client *lc;
	char name[8];
	unsigned int who;
	struct cfs_member *lun, *tree;
	struct cfs_fs *fs;
	struct cfs_clock_manual clock; /* times are numbers of writes */
	uint16_t branch;               /* of the LUN */
	struct token tokens[TOKENS];
	struct dirty dirty[DIRTY_MAX];
	unsigned int dirty_count;
	bool is_boss, is_lost;
	bool is_unfolded; /* something that was written */
	uint64_t recalled[16];
	unsigned int recalled_count;
};

struct rpc { /* a request about data, or its answer */
	uint64_t id, client, value;
	uint32_t type, container;
	int32_t status;
	uint32_t bytes;
	uint8_t data[];
};

enum rpc_type {
	RPC_MAKE,
	RPC_VIEW,
	RPC_LEND,
	RPC_INOS,
	RPC_FOLD,
	RPC_LOANS,
	RPC_HELD,
	RPC_CLOSE,
	RPC_HOLD,
	RPC_GO_ON, /* the last two are notices */
};

struct conn {
	struct conn *next;
	uint64_t id;
	uint32_t client, life, boss;
	bool client_open, boss_open, is_cut, is_lost[2];
	uint64_t last_ns[2];
};

struct client_proc {
	struct actor a;
	struct whole *w;
	unsigned int index;
	struct sim_clock clock;
	struct conn *conn;
	bool is_leaving, has_left, is_connecting;
	uint64_t wake_ns, taint_ns, out_until_ns;
	uint64_t lives;
	uint64_t ids[2]; /* as client of the two containers */
	uint64_t rpc_id, waits_for;
	struct rpc *reply;
	uint64_t hold_serial;
	bool must_reconcile;
};

struct job {
	struct job *next;
	uint64_t peer, client, lease; /* no peer: to be sealed or ended */
	enum cfs_owner_end end;
	bool has_ended;
	struct rpc *rpc;
};

struct boss {
	struct actor a;
	struct whole *w;
	unsigned int index;
	struct sim_clock clock;
	struct manager mgr;
	struct cfs_owner *owner; /* NULL: not the manager (any more) */
	bool is_there, is_open, is_retired;
	uint64_t seat_end_ns, wake_ns;
	struct job *jobs;
	uint64_t revoked[16]; /* clients, the last ones */
	unsigned int revoked_count;
	bool is_holding; /* for a snapshot */
	uint64_t hold_serial, hold_ns;
	struct token roll; /* for a rollback */
	bool is_done;      /* the end */
};

struct snap {
	char name[16];
	uint64_t values[REGS];
	uint64_t begin_ns, end_ns;
};

struct file_state {
	uint32_t count; /* chunks; 0 and !exists: none */
	bool exists;
	uint64_t chunks[CHUNKS];
};
struct dir_state {
	uint64_t value; /* the write that made it */
	unsigned int dir;
	struct file_state files[NAMES];
	size_t other; /* a rename's access in the other one */
	bool has_other;
};

struct plan {
	uint64_t period_ns, access_ns, delay_ns, think_ns, trouble_ns;
	uint64_t quiet_ns, recall_ns, io_ns;
	uint32_t drift_ppm;
	unsigned int clients, bosses, cut_in, pause_in;
	bool is_checked, has_stops, has_trees, is_quiet, is_mirror;
};

struct whole {
	struct sim *sim;
	struct plan plan;
	struct shared_pool pool;
	uint64_t dir_inos[DIRS];
	uint64_t lun_ino, tree_ino;
	struct client_proc clients[CLIENTS];
	struct boss bosses[BOSSES];
	struct conn *conns;
	uint64_t conn_count;
	struct process *processes[64];
	struct cfs_dev *devices[64][SHARED_DEVICES_MAX];
	struct cfs_devset *sets[64];
	unsigned int process_count;
	struct sim_history histories[REGS];
	struct dir_state *states;
	size_t state_count, state_room;
	uint64_t next_value;
	struct snap snaps[SNAPS_MAX];
	unsigned int snap_count, snap_names;
	/* Who manages: a register that everybody sees. */
	unsigned int seat_boss;
	uint64_t seat_seq, seen_seq, seen_ns;
	struct sim_clock watch;
	uint64_t dead[32];
	unsigned int dead_count;
	bool is_over;
};

#define say(w, ...) sim_say((w)->sim, __VA_ARGS__)

static inline void count(struct whole *w, enum counter counter)
{
	w->sim->counters[counter]++;
}

static struct boss *boss_now(struct whole *w)
{
	return &w->bosses[w->seat_boss];
}

/* ---- resources and registers -------------------------------------------- */

static void resource_of(const struct whole *w, const struct actor *a,
			unsigned int i, struct cfs_lock_resource *ret)
{
	*ret = (struct cfs_lock_resource){
		.container = i >= PARTS && i < PARTS + DIRS ? a->tree->id
							    : a->lun->id,
		.volume = CFS_VOLUME_FIRST,
		.ino = w->lun_ino,
		.length_bytes = CFS_LOCK_LENGTH_WHOLE,
	};
	if (i >= PARTS && i < PARTS + DIRS)
		ret->ino = w->dir_inos[i - PARTS];
	if (i >= PARTS)
		return;
	ret->offset_bytes = (uint64_t)i * PART_BLOCKS * HEAL_BLOCK;
	ret->length_bytes = (uint64_t)PART_BLOCKS * HEAL_BLOCK;
}

/* Bits: parts and directories. */
static unsigned int covers(unsigned int resource)
{
	return resource == R_LUN ? (1u << PARTS) - 1 : 1u << resource;
}

/* Blocks of a register of the LUN. */
static void reg_blocks(unsigned int reg, unsigned int *ret_first,
		       unsigned int *ret_count)
{
	unsigned int part = reg / (SINGLES + 1), i = reg % (SINGLES + 1);

	*ret_first = part * PART_BLOCKS + i;
	*ret_count = i < SINGLES ? 1 : PART_BLOCKS - SINGLES;
}

static unsigned int reg_resource(unsigned int reg)
{
	return reg < LUN_REGS ? reg / (SINGLES + 1) : reg - LUN_REGS + PARTS;
}

/* ---- contents ----------------------------------------------------------- */

static void fill(uint8_t *buf, size_t bytes, uint64_t value, uint64_t at)
{
	uint64_t x = value;

	for (size_t i = 0; i < bytes; i += 8) {
		memcpy(buf + i, &x, CFS_MIN(bytes - i, (size_t)8));
		x = (x + at + 1) * UINT64_C(0x9e3779b97f4a7c15);
	}
}

/* The value of which @buf is made. */
static bool decode(const uint8_t *buf, size_t bytes, uint64_t at, uint64_t *ret)
{
	uint8_t want[HEAL_BLOCK];

	memcpy(ret, buf, sizeof(*ret));
	fill(want, bytes, *ret, at);
	if (*ret == 0)
		memset(want, 0, bytes);
	return memcmp(want, buf, bytes) == 0;
}

static struct dir_state *state_add(struct whole *w, unsigned int dir,
				   uint64_t value,
				   const struct file_state files[NAMES])
{
	struct dir_state *s;

	if (w->state_count == w->state_room) {
		w->state_room = w->state_room ? 2 * w->state_room : 64;
		w->states = reallocarray(w->states, w->state_room,
					 sizeof(*w->states));
		assert_non_null(w->states);
	}
	s = &w->states[w->state_count++];
	memset(s, 0, sizeof(*s));
	s->dir = dir;
	s->value = value;
	memcpy(s->files, files, sizeof(s->files));
	return s;
}

static struct dir_state *state_find(struct whole *w, unsigned int dir,
				    uint64_t value)
{
	for (size_t i = w->state_count; i-- > 0;)
		if (w->states[i].value == value && w->states[i].dir == dir)
			return &w->states[i];
	return NULL;
}

/* ---- processes ---------------------------------------------------------- */

static struct cfs_devset *process_new(struct whole *w, uint32_t node,
				      struct process **ret)
{
	const struct cfs_devset_options opt = { .is_writable = true };
	struct process *p = calloc(1, sizeof(*p));
	const unsigned int n = w->process_count++;
	struct cfs_dev *list[SHARED_DEVICES_MAX];

	assert_non_null(p);
	MUST(w->sim, n < 64, "too many processes");
	process_init(p, w->sim, node);
	p->io_ns = w->plan.io_ns;
	p->stall_ns = w->plan.period_ns * 2;
	for (unsigned int i = 0; i < w->pool.devices; i++) {
		HEAL_OK(cfs_sim_dev_open(w->pool.sim, i, &list[i], &err_));
		list[i] = w->devices[n][i] = device_new(p, list[i]);
	}
	HEAL_OK(cfs_devset_from_devices(list, w->pool.devices, &opt,
					&w->sets[n], &err_));
	w->processes[n] = p;
	*ret = p;
	return w->sets[n];
}
