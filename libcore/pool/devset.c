// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The set of devices.
 *
 * What must stay true:
 *  - the label with the highest seq says how many devices there are; what all
 *    labels must agree on is compared before anything above looks at a byte;
 *  - the array of slots never moves: accessors run beside an add.
 */
#include "pool/devset_priv.h"

#include "pool/devset_exclude.h"

#include "device/overlay.h"

#include "base/cleanup.h"
#include "base/uuid.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

/* ------------------------------------------------------------ accessors */

uint32_t cfs_devset_count(const struct cfs_devset *set)
{
	return __atomic_load_n(&set->count, __ATOMIC_ACQUIRE);
}

static struct cfs_devset_slot *slot_of(const struct cfs_devset *set,
				       uint32_t index)
{
	assert(index < cfs_devset_count(set));
	return set->slots[index];
}

struct cfs_dev *cfs_devset_dev(const struct cfs_devset *set, uint32_t index)
{
	/* It may be taken out meanwhile (devset_exclude.h). */
	return __atomic_load_n(&slot_of(set, index)->dev, __ATOMIC_ACQUIRE);
}

const struct cfs_label *cfs_devset_label(const struct cfs_devset *set,
					 uint32_t index)
{
	return &slot_of(set, index)->label;
}

uint64_t cfs_devset_size_bytes(const struct cfs_devset *set, uint32_t index)
{
	return __atomic_load_n(&slot_of(set, index)->label.size_bytes,
			       __ATOMIC_RELAXED);
}

uint64_t cfs_devset_slice_count(const struct cfs_devset *set, uint32_t index)
{
	return __atomic_load_n(&slot_of(set, index)->label.slice_count,
			       __ATOMIC_RELAXED);
}

const char *cfs_devset_path(const struct cfs_devset *set, uint32_t index)
{
	return slot_of(set, index)->path;
}

bool cfs_devset_is_removed(const struct cfs_devset *set, uint32_t index)
{
	return cfs_label_is_removed(&slot_of(set, 0)->label, index);
}

bool cfs_devset_is_writable(const struct cfs_devset *set)
{
	return set->is_writable;
}

bool cfs_devset_is_overlay(const struct cfs_devset *set)
{
	return set->is_overlay;
}

struct cfs_commit_holds *cfs_devset_holds(struct cfs_devset *set)
{
	return &set->holds;
}

bool cfs_devset_is_mirror(const struct cfs_devset *set)
{
	return slot_of(set, 0)->label.flags & CFS_POOL_FLAG_MIRROR;
}

void cfs_devset_warn(const struct cfs_devset *set, const char *fmt, ...)
{
	char line[CFS_ERR_BYTES];
	va_list ap;

	if (!set->warn)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	set->warn(set->arg, line);
}

static bool is_same_file(const char *a, const char *b)
{
	dev_t dev_a, dev_b;
	ino_t ino_a, ino_b;

	return strcmp(a, b) == 0 ||
	       (cfs_file_identity(a, &dev_a, &ino_a) == 0 &&
		cfs_file_identity(b, &dev_b, &ino_b) == 0 && dev_a == dev_b &&
		ino_a == ino_b);
}

int cfs_devset_find(const struct cfs_devset *set, const char *path_or_uuid,
		    uint32_t *ret_index, struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) char *path = NULL;
	uint32_t index, count = cfs_devset_count(set);
	uint8_t uuid[16];
	bool is_uuid = cfs_uuid_parse(path_or_uuid, uuid) == 0;

	if (!is_uuid) {
		int r = cfs_dev_host_path(path_or_uuid, &path, err);

		if (r < 0)
			return r;
	}
	for (index = 0; index < count; index++) {
		const struct cfs_devset_slot *slot = slot_of(set, index);

		if (is_uuid ? cfs_uuid_is_equal(slot->label.device_uuid, uuid)
			    : slot->path[0] && is_same_file(slot->path, path)) {
			*ret_index = index;
			return 0;
		}
	}
	return cfs_err_set(err, -ENOENT, "%s: not a device of this pool",
			   path_or_uuid);
}

/* ----------------------------------------------------- making and ending */

static void slot_free(struct cfs_devset_slot *slot)
{
	if (!slot)
		return;
	cfs_dev_close(slot->dev);
	free(slot->path);
	free(slot);
}

void cfs_devset_close(struct cfs_devset *set)
{
	uint32_t index;

	if (!set)
		return;
	for (index = 0; index < set->count; index++)
		slot_free(set->slots[index]);
	free(set->slots);
	cfs_commit_holds_done(&set->holds);
	free(set);
}

void cfs_devset_closep(struct cfs_devset **set)
{
	cfs_devset_close(*set);
}

static struct cfs_devset *set_new(const struct cfs_devset_options *opt)
{
	struct cfs_devset *set = calloc(1, sizeof(*set));

	if (!set)
		return NULL;
	/* Untouched pages of it cost nothing. */
	set->slots = calloc(CFS_DEVSET_DEVICES_MAX,
			    sizeof(struct cfs_devset_slot *));
	if (!set->slots) {
		free(set);
		return NULL;
	}
	cfs_commit_holds_init(&set->holds);
	set->is_writable = opt->is_writable;
	set->is_overlay = opt->is_overlay || !opt->is_writable;
	set->warn = opt->warn;
	set->arg = opt->arg;
	set->without = opt->without;
	set->allows_short = opt->allows_short;
	return set;
}

/* -------------------------------------------------------------- judging */

static bool is_hinted_by(const struct cfs_label *master, const uint8_t *uuid)
{
	unsigned int i;

	if (cfs_uuid_is_equal(master->device_uuid, uuid))
		return true;
	for (i = 0; i < CFS_LABEL_HINT_COUNT; i++)
		if (cfs_uuid_is_equal(master->hints[i].device_uuid, uuid))
			return true;
	return false;
}

int cfs_label_compare(const struct cfs_label *a, const char *path_a,
		      const struct cfs_label *b, const char *path_b,
		      struct cfs_err *err)
{
	const char *what = NULL;

	if (!cfs_uuid_is_equal(a->pool_uuid, b->pool_uuid))
		what = "their pool";
	else if (a->slice_bytes != b->slice_bytes)
		what = "the slice size";
	else if (a->slices_offset_bytes != b->slices_offset_bytes)
		what = "where slices begin";
	/* Whether it is a mirror the newest says: it may become one. */
	else if ((a->flags ^ b->flags) &
		 ~(a->seq == b->seq ? 0 : CFS_POOL_FLAG_MIRROR))
		what = "the kind of pool";
	else if (a->seat_count != b->seat_count)
		what = "the number of seats";
	else if (a->vote_count != b->vote_count)
		what = "on how many devices seats count";
	else if (cfs_uuid_is_equal(a->device_uuid, b->device_uuid))
		return cfs_err_set(err, -EUCLEAN,
				   "two devices with one "
				   "identity: %s and %s: name the right one "
				   "or remove the copy",
				   path_a, path_b);
	if (!what)
		return 0;
	return cfs_err_set(err, -EUCLEAN,
			   "%s and %s: their labels disagree "
			   "about %s",
			   path_a, path_b, what);
}

static int check_one(const struct cfs_devset *set, const struct cfs_found *f,
		     struct cfs_err *err)
{
	uint64_t unknown = f->label.features_ro_compat &
			   ~CFS_FEATURES_RO_COMPAT;

	if (cfs_dev_size_bytes(f->dev) < f->label.size_bytes &&
	    !set->allows_short)
		return cfs_err_set(err, -EUCLEAN,
				   "%s: shorter than its label "
				   "says",
				   f->path);
	if (unknown && !set->is_overlay)
		return cfs_err_set(err, -ENOTSUP,
				   "%s: only a newer version of "
				   "cfs may write to it (features %#" PRIx64
				   ")",
				   f->path, unknown);
	return 0;
}

static int check_all(const struct cfs_devset *set,
		     const struct cfs_found_list *list, struct cfs_err *err)
{
	const struct cfs_found *found = list->found.items;
	size_t i, j;
	int r = 0;

	for (i = 0; r == 0 && i < list->found.count; i++) {
		r = check_one(set, &found[i], err);
		for (j = 0; r == 0 && j < i; j++)
			r = cfs_label_compare(&found[j].label, found[j].path,
					      &found[i].label, found[i].path,
					      err);
	}
	return r;
}

/* --------------------------------------------------- putting it together */

static int wrap(const struct cfs_devset *set, struct cfs_found *f,
		struct cfs_err *err)
{
	struct cfs_dev *over;
	int r;

	if (!set->is_overlay || cfs_dev_kind(f->dev) == CFS_DEV_OVERLAY)
		return 0;
	r = cfs_dev_overlay_new(f->dev, &over, err);
	if (r == 0)
		f->dev = over;
	return r;
}

/* Move what was found into the slot of its index. */
int cfs_devset_place(struct cfs_devset *set, struct cfs_found *f,
		     struct cfs_err *err)
{
	struct cfs_devset_slot *slot = calloc(1, sizeof(*slot));
	int r;

	if (!slot)
		return cfs_err_errno(err, -ENOMEM, "%s", f->path);
	r = wrap(set, f, err);
	if (r < 0) {
		free(slot);
		return r;
	}
	slot->dev = CFS_STEAL(f->dev);
	slot->path = CFS_STEAL(f->path);
	slot->label = f->label;
	set->slots[f->label.device_index] = slot;
	return 0;
}

/*
 * A device whose label is of the pool, but that the newest label does not
 * count: an add that broke off, or one that was replaced.
 */
static int leave_out(const struct cfs_devset *set, const struct cfs_found *f,
		     bool is_named, struct cfs_err *err)
{
	if (is_named)
		return cfs_err_set(err, -EUCLEAN,
				   "%s: carries a label of the "
				   "pool \"%s\" but is not, or no longer, a "
				   "device of it: name another one",
				   f->path, f->label.name);
	cfs_devset_warn(set,
			"%s: carries a label of the pool \"%s\" but is "
			"not a device of it: left alone",
			f->path, f->label.name);
	return 0;
}

/* Which of two devices with one index is in the pool?  The one that the
 * newest label names; NULL if it does not tell. */
static struct cfs_found *rival(const struct cfs_found_list *list,
			       const struct cfs_label *master,
			       struct cfs_found *f)
{
	size_t i;

	for (i = 0; i < list->found.count; i++) {
		struct cfs_found *other = &list->found.items[i];

		if (other == f ||
		    other->label.device_index != f->label.device_index)
			continue;
		if (is_hinted_by(master, f->label.device_uuid) ==
		    is_hinted_by(master, other->label.device_uuid))
			return NULL;
		if (is_hinted_by(master, other->label.device_uuid))
			return other;
	}
	return f;
}

static int place_all(struct cfs_devset *set, struct cfs_found_list *list,
		     const struct cfs_label *master, struct cfs_err *err)
{
	size_t i;
	int r = 0;

	/* Judged before anything moves: a slot takes names and devices away. */
	for (i = 0; r == 0 && i < list->found.count; i++) {
		struct cfs_found *f = &list->found.items[i];

		if (f->label.device_index < set->count &&
		    !cfs_label_is_removed(master, f->label.device_index) &&
		    !rival(list, master, f))
			r = cfs_err_set(err, -EUCLEAN,
					"%s: another device of "
					"the pool has the index %" PRIu32
					" too",
					f->path, f->label.device_index);
	}
	for (i = 0; r == 0 && i < list->found.count; i++) {
		struct cfs_found *f = &list->found.items[i];

		if (f->label.device_index >= set->count ||
		    cfs_label_is_removed(master, f->label.device_index) ||
		    rival(list, master, f) != f)
			r = leave_out(set, f, i == 0, err);
		else
			r = cfs_devset_place(set, f, err);
	}
	return r;
}

/* The hints of the newest label that no present device answers to, in order,
 * are those of the missing indices. */
static bool next_absent_hint(const struct cfs_devset *set,
			     const struct cfs_label *master, unsigned int *hint)
{
	uint32_t index;

	for (; *hint < CFS_LABEL_HINT_COUNT; (*hint)++) {
		const uint8_t *uuid = master->hints[*hint].device_uuid;
		bool is_present = cfs_uuid_is_null(uuid);

		for (index = 0; !is_present && index < set->count; index++)
			is_present =
				set->slots[index] &&
				cfs_uuid_is_equal(
					uuid,
					set->slots[index]->label.device_uuid);
		if (!is_present)
			return true;
	}
	return false;
}

static int fill_missing(struct cfs_devset *set, const struct cfs_label *master,
			struct cfs_err *err)
{
	unsigned int hint = 0;
	uint32_t index;

	for (index = 0; index < set->count; index++) {
		struct cfs_devset_slot *slot;
		const char *path = "";

		if (set->slots[index])
			continue;
		slot = calloc(1, sizeof(*slot));
		if (!slot)
			return cfs_err_errno(err, -ENOMEM, "device %" PRIu32,
					     index);
		slot->label = *master;
		slot->label.device_index = index;
		slot->label.size_bytes = 0;
		slot->label.slice_count = 0;
		memset(slot->label.device_uuid, 0, 16);
		memset(slot->label.hints, 0, sizeof(slot->label.hints));
		/* One that was taken out has no hint. */
		if (!cfs_label_is_removed(master, index) &&
		    next_absent_hint(set, master, &hint)) {
			memcpy(slot->label.device_uuid,
			       master->hints[hint].device_uuid, 16);
			path = master->hints[hint].path;
		}
		slot->path = strdup(path);
		set->slots[index] = slot;
		if (!slot->path)
			return cfs_err_errno(err, -ENOMEM, "device %" PRIu32,
					     index);
	}
	return 0;
}

static int report_missing(const struct cfs_devset *set, const char *first,
			  const struct cfs_err *note, struct cfs_err *err)
{
	bool is_mirror = cfs_devset_is_mirror(set);
	char uuid[CFS_UUID_TEXT_BYTES];
	uint32_t index;

	for (index = 0; index < set->count; index++) {
		const struct cfs_devset_slot *slot = set->slots[index];
		const char *path = slot->path[0] ? slot->path : "?";

		if (slot->dev || cfs_devset_is_removed(set, index))
			continue;
		cfs_uuid_format(slot->label.device_uuid, uuid);
		if (is_mirror) {
			cfs_devset_warn(set,
					"%s: device %" PRIu32 " (%s, last "
					"at %s) is missing%s%s",
					first, index, uuid, path,
					note->code ? ": " : "",
					note->code ? note->msg : "");
			continue;
		}
		return cfs_err_set(err, -ENODEV,
				   "%s: device %" PRIu32 " of "
				   "the pool (%s, last at %s) is missing%s%s: "
				   "attach it, or name its directory with "
				   "--search",
				   first, index, uuid, path,
				   note->code ? ": " : "",
				   note->code ? note->msg : "");
	}
	return 0;
}

/* What the newest label says of the whole pool holds for all. */
static void agree(struct cfs_devset *set, const struct cfs_label *master)
{
	for (uint32_t i = 0; i < set->count; i++) {
		struct cfs_label *label = &set->slots[i]->label;

		label->flags = master->flags;
		label->features_incompat = master->features_incompat;
		memcpy(label->removed, master->removed, sizeof(label->removed));
	}
}

/* The device that is given up, if it is there at all. */
static int do_without(struct cfs_devset *set, struct cfs_err *err)
{
	uint32_t index;
	int r;

	if (!set->without)
		return 0;
	if (!cfs_devset_is_mirror(set))
		return cfs_err_set(err, -EINVAL,
				   "%s: only a mirror opens "
				   "without one of its devices",
				   set->without);
	r = cfs_devset_find(set, set->without, &index, err);
	if (r == 0)
		cfs_devset_exclude(set, index);
	return r;
}

static int assemble(struct cfs_devset *set, struct cfs_found_list *list,
		    struct cfs_err *err)
{
	CFS_CLEANUP(cfs_freep) char *first = NULL;
	struct cfs_label master;
	int r;

	r = check_all(set, list, err);
	if (r < 0)
		return r;
	first = strdup(list->found.items[0].path);
	if (!first)
		return cfs_err_errno(err, -ENOMEM, "devices");
	master = *cfs_found_master(list);
	set->label_seq = master.seq;
	set->count = master.device_count;
	r = place_all(set, list, &master, err);
	if (r == 0)
		r = fill_missing(set, &master, err);
	if (r == 0)
		agree(set, &master);
	if (r == 0)
		r = do_without(set, err);
	if (r == 0)
		r = report_missing(set, first, &list->note, err);
	return r;
}

/* -------------------------------------------------------------- opening */

static int finish(struct cfs_found_list *list, int r,
		  const struct cfs_devset_options *opt, struct cfs_devset **ret,
		  struct cfs_err *err)
{
	CFS_CLEANUP(cfs_devset_closep) struct cfs_devset *set = NULL;

	if (r == 0) {
		set = set_new(opt);
		r = set ? assemble(set, list, err)
			: cfs_err_errno(err, -ENOMEM, "devices");
	}
	cfs_found_list_done(list);
	if (r == 0)
		*ret = CFS_STEAL(set);
	return r;
}

int cfs_devset_open(const char *path, const struct cfs_devset_options *opt,
		    struct cfs_devset **ret, struct cfs_err *err)
{
	struct cfs_found_list list = { .note = CFS_ERR_INIT };

	return finish(&list, cfs_find_devices(path, opt, &list, err), opt, ret,
		      err);
}

int cfs_devset_from_devices(struct cfs_dev *const *devices, size_t count,
			    const struct cfs_devset_options *opt,
			    struct cfs_devset **ret, struct cfs_err *err)
{
	struct cfs_found_list list = { .note = CFS_ERR_INIT };
	size_t i;
	int r = count ? 0 : cfs_err_set(err, -EINVAL, "no device");

	for (i = 0; i < count; i++) {
		struct cfs_found f = { .dev = devices[i] };

		f.path = strdup(cfs_dev_name(f.dev));
		if (!f.path || cfs_vec_push(&list.found, f) < 0) {
			free(f.path);
			cfs_dev_close(f.dev);
			r = cfs_err_errno(err, -ENOMEM, "devices");
		}
	}
	for (i = 0; r == 0 && i < list.found.count; i++)
		r = cfs_label_read(list.found.items[i].dev,
				   &list.found.items[i].label, NULL, err);
	return finish(&list, r, opt, ret, err);
}
