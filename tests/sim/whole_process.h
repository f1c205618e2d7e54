/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Processes of whole.c.  Each has one fiber, which runs the real code of its
 * containers, and devices of its own: in calls to them the fiber is put aside,
 * and the world goes on.  A process that is paused is not taken up again until
 * that is over; one that died finds its devices gone, comes to its end without
 * any effect, and what it had under way lands or does not.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/bits.h"
#include "device/device_priv.h"
#include "device/sim.h"
#include "sim_engine.h"

#define STACK_BYTES (UINT64_C(1) << 20)
#define STACKS_MAX  32u
#define FLIGHTS_MAX 8192u

struct process {
	struct sim *sim;
	uint32_t node;
	/* The fiber. */
	ucontext_t here, back;
	void *stack;
	void (*run)(void *arg);
	void *arg;
	uint64_t turn; /* wake-ups of older ones are void */
	bool has_fiber, is_waiting;
	bool is_dead;
	/* What the devices have not taken yet. */
	struct flight *flights;
	size_t flight_count;
	uint64_t io_ns;    /* a call takes that long, mostly */
	uint64_t stall_ns; /* or so long */
	/* Asked when it goes on: false, and it dies there.  NULL: yes. */
	bool (*may_go_on)(const void *arg);
	const unsigned int *pause_in; /* it stands still in one of so many
				       * flushes; 0: never */
};

struct device {
	struct cfs_dev dev;
	struct cfs_dev *under;
	struct process *p;
};

struct flight {
	struct cfs_dev *under;
	uint64_t offset_bytes;
	size_t length_bytes;
	uint8_t *data; /* NULL: a discard */
};

static struct process *process_now; /* whose fiber runs */
static jmp_buf whole_out;           /* of who runs without one */
static void *whole_stacks[STACKS_MAX];
static unsigned int whole_stack_count;
static unsigned int whole_late, whole_late_left; /* writes of the dead */

/* ---- fibers ------------------------------------------------------------- */

static void fiber_main(void)
{
	struct process *p = process_now;

	p->run(p->arg);
	p->has_fiber = false;
	process_now = NULL;
	swapcontext(&p->here, &p->back);
}

static void fiber_enter(struct process *p)
{
	p->turn++;
	p->is_waiting = false;
	process_now = p;
	swapcontext(&p->back, &p->here);
	process_now = NULL;
	if (!p->has_fiber && p->stack) {
		whole_stacks[whole_stack_count++] = p->stack;
		p->stack = NULL;
	}
}

static void fiber_event(void *arg, uint64_t turn, uint64_t b, void *data)
{
	struct process *p = arg;

	(void)b;
	(void)data;
	if (p->has_fiber && p->turn == turn)
		fiber_enter(p);
}

/* Begins with the next event. */
static void fiber_start(struct process *p, void (*run)(void *arg), void *arg)
{
	p->run = run;
	p->arg = arg;
	p->has_fiber = true;
	p->is_dead = false;
	p->stack = whole_stack_count
			   ? whole_stacks[--whole_stack_count]
			   : mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
				  -1, 0);
	assert_true(p->stack != MAP_FAILED);
	getcontext(&p->here);
	p->here.uc_stack.ss_sp = p->stack;
	p->here.uc_stack.ss_size = STACK_BYTES;
	p->here.uc_link = NULL;
	makecontext(&p->here, fiber_main, 0);
	sim_at(p->sim, p->sim->now_ns, p->node, fiber_event, p, p->turn, 0,
	       NULL);
}

/* In the fiber: for so long, or until it is woken.  The dead do not sleep. */
static void fiber_sleep(struct process *p, uint64_t ns)
{
	if (p->is_dead)
		return;
	p->is_waiting = true;
	sim_at(p->sim, p->sim->now_ns + ns, p->node, fiber_event, p, p->turn, 0,
	       NULL);
	process_now = NULL;
	swapcontext(&p->here, &p->back);
}

/* It waits between two things, not within a call to a device. */
static void fiber_wake(struct process *p)
{
	if (p->has_fiber)
		sim_at(p->sim, p->sim->now_ns, p->node, fiber_event, p, p->turn,
		       0, NULL);
}

static void whole_stop(void)
{
	struct process *p = process_now;

	if (!p)
		longjmp(whole_out, 1);
	process_now = NULL;
	p->turn++;
	swapcontext(&p->here, &p->back);
}

#define MUST(sim, cond, ...)                                                   \
	do {                                                                   \
		if (!(cond)) {                                                 \
			sim_fail(sim, __VA_ARGS__);                            \
			whole_stop();                                          \
		}                                                              \
	} while (0)

/* ---- what is under way -------------------------------------------------- */

static void flight_land(const struct flight *f)
{
	if (f->data)
		(void)cfs_dev_write(f->under, f->offset_bytes, f->data,
				    f->length_bytes, NULL);
	else
		(void)cfs_dev_discard(f->under, f->offset_bytes,
				      f->length_bytes, NULL);
}

static void flights_land(struct process *p)
{
	for (size_t i = 0; i < p->flight_count; i++) {
		flight_land(&p->flights[i]);
		free(p->flights[i].data);
	}
	p->flight_count = 0;
}

static int flight_add(struct process *p, struct cfs_dev *under,
		      uint64_t offset_bytes, const void *buf, size_t bytes)
{
	struct flight *f = &p->flights[p->flight_count];

	if (p->flight_count == FLIGHTS_MAX)
		return -EIO;
	*f = (struct flight){ under, offset_bytes, bytes, NULL };
	if (buf) {
		f->data = malloc(bytes);
		if (!f->data)
			return -ENOMEM;
		memcpy(f->data, buf, bytes);
	}
	p->flight_count++;
	/* Perhaps it is there already, and will come once more. */
	if (sim_one_in(p->sim, 4))
		flight_land(f);
	return 0;
}

/* Of one who died: late, whatever its place is by then. */
static void flight_late(void *arg, uint64_t offset_bytes, uint64_t bytes,
			void *data)
{
	const struct flight f = { arg, offset_bytes, (size_t)bytes, data };

	whole_late++;
	whole_late_left--;
	flight_land(&f);
}

/* Some sectors of it and not others. */
static void flight_tear(struct process *p, struct flight *f)
{
	for (size_t at = 0; at < f->length_bytes; at += 512)
		if (sim_one_in(p->sim, 2))
			(void)cfs_dev_write(
				f->under, f->offset_bytes + at, f->data + at,
				CFS_MIN(f->length_bytes - at, (size_t)512),
				NULL);
}

static void flights_of_the_dead(struct process *p)
{
	const uint64_t late_ns = p->stall_ns * 4;
	bool is_late = sim_one_in(p->sim, 3);

	for (size_t i = 0; i < p->flight_count; i++) {
		struct flight *f = &p->flights[i];

		if (is_late) {
			whole_late_left++;
			sim_at(p->sim,
			       p->sim->now_ns + sim_skewed(p->sim, 0, late_ns),
			       SIM_NOBODY, flight_late, f->under,
			       f->offset_bytes, f->length_bytes, f->data);
			continue;
		}
		if (sim_one_in(p->sim, 2))
			flight_land(f);
		else if (f->data && sim_one_in(p->sim, 2))
			flight_tear(p, f);
		free(f->data);
	}
	p->flight_count = 0;
}

/* ---- the devices -------------------------------------------------------- */

static struct device *device_of(struct cfs_dev *dev)
{
	return (struct device *)(void *)dev;
}

static void device_time(struct process *p, bool is_flush)
{
	if (process_now != p)
		return;
	if (is_flush && p->pause_in && sim_one_in(p->sim, *p->pause_in))
		sim_pause(p->sim, p->node,
			  sim_skewed(p->sim, 0, 2 * p->stall_ns));
	if (is_flush)
		fiber_sleep(p, sim_one_in(p->sim, 12)
				       ? sim_skewed(p->sim, 0, p->stall_ns)
				       : p->io_ns / 2 +
						 sim_below(p->sim, p->io_ns));
	else if (sim_one_in(p->sim, 8))
		fiber_sleep(p, sim_below(p->sim, p->io_ns));
	if (!p->is_dead && p->may_go_on && !p->may_go_on(p->arg)) {
		p->is_dead = true;
		flights_of_the_dead(p);
	}
}

/* What the host wrote it reads, wherever that is. */
static int device_read(struct device *d, uint64_t offset_bytes, void *buf,
		       size_t length_bytes)
{
	const uint64_t end = offset_bytes + length_bytes;
	int r = cfs_dev_read(d->under, offset_bytes, buf, length_bytes, NULL);

	for (size_t i = 0; r == 0 && i < d->p->flight_count; i++) {
		const struct flight *f = &d->p->flights[i];
		const uint64_t a = CFS_MAX(offset_bytes, f->offset_bytes);
		const uint64_t b = CFS_MIN(end,
					   f->offset_bytes + f->length_bytes);

		if (f->under != d->under || !f->data || a >= b)
			continue;
		memcpy((uint8_t *)buf + (a - offset_bytes),
		       f->data + (a - f->offset_bytes), (size_t)(b - a));
	}
	return r;
}

static int device_transfer(struct cfs_dev *dev, enum cfs_io_op op,
			   uint64_t offset_bytes, void *buf,
			   size_t length_bytes)
{
	struct device *d = device_of(dev);
	struct process *p = d->p;

	if (op == CFS_IO_READ && p->is_dead)
		return -EIO;
	if (op == CFS_IO_READ)
		return device_read(d, offset_bytes, buf, length_bytes);
	device_time(p, false);
	if (p->is_dead)
		return -EIO;
	return flight_add(p, d->under, offset_bytes, buf, length_bytes);
}

static int device_flush(struct cfs_dev *dev)
{
	struct process *p = device_of(dev)->p;

	device_time(p, true);
	if (p->is_dead)
		return -EIO;
	flights_land(p);
	device_time(p, false);
	return p->is_dead ? -EIO : cfs_dev_flush(device_of(dev)->under, NULL);
}

static int device_discard(struct cfs_dev *dev, uint64_t offset_bytes,
			  uint64_t length_bytes)
{
	struct device *d = device_of(dev);

	device_time(d->p, false);
	if (d->p->is_dead)
		return -EIO;
	return flight_add(d->p, d->under, offset_bytes, NULL, length_bytes);
}

static int device_lock(struct cfs_dev *dev, bool exclusive)
{
	return cfs_dev_lock(device_of(dev)->under, exclusive, NULL);
}

static void device_unlock(struct cfs_dev *dev)
{
	cfs_dev_unlock(device_of(dev)->under);
}

static bool device_is_same(const struct cfs_dev *a, const struct cfs_dev *b)
{
	return a == b;
}

/* The one below stays open: late writes go there. */
static void device_close(struct cfs_dev *dev)
{
	cfs_dev_unlock(device_of(dev)->under);
}

static const struct cfs_dev_ops device_ops = {
	.transfer = device_transfer,
	.flush = device_flush,
	.discard = device_discard,
	.lock = device_lock,
	.unlock = device_unlock,
	.is_same = device_is_same,
	.close = device_close,
};

/* In front of @under, which it owns from now on; ends with device_free. */
static struct cfs_dev *device_new(struct process *p, struct cfs_dev *under)
{
	struct device *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	d->dev = (struct cfs_dev){
		.ops = &device_ops,
		.kind = cfs_dev_kind(under),
		.is_writable = true,
		.size_bytes = cfs_dev_size_bytes(under),
		.name = strdup(cfs_dev_name(under)),
	};
	d->under = under;
	d->p = p;
	return &d->dev;
}

static void device_free(struct cfs_dev *dev)
{
	cfs_dev_close(device_of(dev)->under);
	free(dev);
}

/* ---- a process ---------------------------------------------------------- */

static void process_init(struct process *p, struct sim *sim, uint32_t node)
{
	*p = (struct process){ .sim = sim, .node = node };
	p->flights = malloc(FLIGHTS_MAX * sizeof(*p->flights));
	assert_non_null(p->flights);
}

/* It dies: its fiber comes to its end, and nothing of that has an effect. */
static void process_die(struct process *p)
{
	sim_crash(p->sim, p->node);
	p->is_dead = true;
	flights_of_the_dead(p);
	while (p->has_fiber && !p->sim->has_failed)
		fiber_enter(p);
}

static void process_done(struct process *p)
{
	for (size_t i = 0; i < p->flight_count; i++)
		free(p->flights[i].data);
	free(p->flights);
	p->flights = NULL;
	p->flight_count = 0;
}
