// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Changing the set: a device more, another size, another name.  In memory
 * first; the labels follow when the caller says so, once what they announce is
 * durable elsewhere.
 */
#include "pool/devset_priv.h"

#include "base/uuid.h"

#include <stdio.h>
#include <stdlib.h>

/* What fits: the path, or its last component to be looked for beside. */
static void hint_put(char ret[CFS_LABEL_HINT_PATH_BYTES], const char *path)
{
	const char *slash = strrchr(path, '/');

	if (strlen(path) >= CFS_LABEL_HINT_PATH_BYTES && slash)
		path = slash + 1;
	if (strlen(path) >= CFS_LABEL_HINT_PATH_BYTES)
		path = "";
	memset(ret, 0, CFS_LABEL_HINT_PATH_BYTES);
	memcpy(ret, path, strlen(path));
}

static void hints_put(const struct cfs_devset *set, struct cfs_label *label)
{
	uint32_t index;
	unsigned int hint = 0;

	memset(label->hints, 0, sizeof(label->hints));
	for (index = 0; index < set->count && hint < CFS_LABEL_HINT_COUNT;
	     index++) {
		const struct cfs_devset_slot *slot = set->slots[index];

		if (index == label->device_index ||
		    cfs_devset_is_removed(set, index) ||
		    cfs_uuid_is_null(slot->label.device_uuid))
			continue;
		memcpy(label->hints[hint].device_uuid, slot->label.device_uuid,
		       16);
		hint_put(label->hints[hint].path, slot->path);
		hint++;
	}
}

/* What has changed; the rest is read by others meanwhile. */
static void label_now(struct cfs_label *label, const struct cfs_label *stored)
{
	label->seq = stored->seq;
	label->device_count = stored->device_count;
	memcpy(label->hints, stored->hints, sizeof(label->hints));
}

int cfs_devset_write_labels(struct cfs_devset *set, struct cfs_err *err)
{
	uint64_t seq = set->label_seq + 1;
	uint32_t index;
	int r = 0;

	for (index = 0; index < set->count; index++) {
		struct cfs_devset_slot *slot = set->slots[index];
		struct cfs_label label = slot->label;
		struct cfs_err why = CFS_ERR_INIT;
		int code;

		if (!slot->dev || cfs_devset_is_removed(set, index))
			continue;
		label.seq = seq;
		label.device_count = set->count;
		hints_put(set, &label);
		set->label_seq = seq;
		code = cfs_label_store(slot->dev, &label, &why);
		if (code == 0)
			label_now(&slot->label, &label);
		else if (r == 0 && err)
			*err = why;
		/* The others all the same: the more know, the better. */
		r = r ? r : code;
	}
	return r;
}

int cfs_devset_level_labels(struct cfs_devset *set, struct cfs_err *err)
{
	bool is_level = true;

	for (uint32_t i = 0; i < set->count; i++) {
		struct cfs_dev *dev = set->slots[i]->dev;

		/* Its label cannot be written before it says another size. */
		if (dev &&
		    cfs_dev_size_bytes(dev) < set->slots[i]->label.size_bytes)
			return 0;
		if (dev && !cfs_label_is_level(dev, set->label_seq))
			is_level = false;
	}
	return is_level ? 0 : cfs_devset_write_labels(set, err);
}

int cfs_devset_add(struct cfs_devset *set, struct cfs_dev *dev,
		   const struct cfs_label *label, uint32_t *ret_index,
		   struct cfs_err *err)
{
	const struct cfs_devset_slot *first = set->slots[0];
	struct cfs_found f = { .dev = dev, .label = *label };
	const char *name = cfs_dev_name(dev);
	uint32_t index;
	int r;

	if (set->count >= CFS_DEVSET_DEVICES_MAX)
		return cfs_err_set(err, -ENOSPC,
				   "%s: a pool has at most %u "
				   "devices",
				   name, CFS_DEVSET_DEVICES_MAX);
	if (cfs_devset_find(set, name, &index, NULL) == 0)
		return cfs_err_set(err, -EEXIST,
				   "%s: is a device of the pool "
				   "already",
				   name);
	f.label.device_index = set->count;
	f.label.device_count = set->count + 1;
	r = cfs_label_compare(&first->label, first->path, &f.label, name, err);
	if (r < 0)
		return r;
	r = cfs_device_path(name, &f.path, err);
	if (r == 0)
		r = cfs_devset_place(set, &f, err);
	free(f.path);
	if (r < 0)
		return r;
	*ret_index = set->count;
	__atomic_store_n(&set->count, set->count + 1, __ATOMIC_RELEASE);
	return 0;
}

void cfs_devset_set_name(struct cfs_devset *set, const char *name)
{
	uint32_t index;

	for (index = 0; index < set->count; index++)
		snprintf(set->slots[index]->label.name, CFS_LABEL_NAME_BYTES,
			 "%s", name);
}

void cfs_devset_set_mirror(struct cfs_devset *set)
{
	for (uint32_t i = 0; i < set->count; i++)
		set->slots[i]->label.flags |= CFS_POOL_FLAG_MIRROR;
}

int cfs_devset_set_removed(struct cfs_devset *set, uint32_t index,
			   struct cfs_err *err)
{
	if (index >= CFS_LABEL_REMOVED_MAX)
		return cfs_err_set(err, -EINVAL,
				   "only the first %u devices of "
				   "a pool can be taken out",
				   CFS_LABEL_REMOVED_MAX);
	for (uint32_t i = 0; i < set->count; i++) {
		struct cfs_label *label = &set->slots[i]->label;

		label->features_incompat |= CFS_FEATURE_REMOVED;
		__atomic_or_fetch(&label->removed[index / 8],
				  (uint8_t)(1u << index % 8), __ATOMIC_RELAXED);
	}
	return 0;
}

void cfs_devset_forget_path(struct cfs_devset *set, uint32_t index)
{
	set->slots[index]->path[0] = '\0';
}

void cfs_devset_set_size(struct cfs_devset *set, uint32_t index,
			 uint64_t size_bytes, uint64_t slice_count)
{
	struct cfs_devset_slot *slot = set->slots[index];

	__atomic_store_n(&slot->label.size_bytes, size_bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->label.slice_count, slice_count,
			 __ATOMIC_RELAXED);
}

int cfs_devset_follow(struct cfs_devset *set, struct cfs_devset *newer,
		      uint32_t *ret_first, struct cfs_err *err)
{
	const uint32_t old = set->count;

	if (!cfs_uuid_is_equal(set->slots[0]->label.pool_uuid,
			       newer->slots[0]->label.pool_uuid))
		return cfs_err_set(err, -EINVAL, "%s: is of another pool",
				   newer->slots[0]->path);
	for (uint32_t i = 0; i < old && i < newer->count; i++) {
		const struct cfs_label *label = &newer->slots[i]->label;

		if (label->slice_count > cfs_devset_slice_count(set, i))
			cfs_devset_set_size(set, i, label->size_bytes,
					    label->slice_count);
	}
	for (uint32_t i = old; i < newer->count; i++) {
		set->slots[i] = newer->slots[i];
		newer->slots[i] = NULL;
	}
	*ret_first = old;
	if (newer->count > old) {
		__atomic_store_n(&set->count, newer->count, __ATOMIC_RELEASE);
		newer->count = old;
	}
	return 0;
}
