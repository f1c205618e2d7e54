/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ranges of one file: a treap by first byte, where each lock knows the last
 * byte of all below it, so that those that overlap are found in O(log n + k).
 */
#include "lease/lock_priv.h"

#include "base/bits.h"

static bool is_before(const struct cfs_lock *a, const struct cfs_lock *b)
{
	return a->first_byte != b->first_byte ? a->first_byte < b->first_byte
					      : a->number < b->number;
}

static void refresh(struct cfs_lock *t)
{
	t->max_last_byte = t->last_byte;
	if (t->left)
		t->max_last_byte = CFS_MAX(t->max_last_byte,
					   t->left->max_last_byte);
	if (t->right)
		t->max_last_byte = CFS_MAX(t->max_last_byte,
					   t->right->max_last_byte);
}

/* What is before @key, and the rest. */
static void split(struct cfs_lock *t, const struct cfs_lock *key,
		  struct cfs_lock **ret_left, struct cfs_lock **ret_right)
{
	if (!t) {
		*ret_left = NULL;
		*ret_right = NULL;
	} else if (is_before(t, key)) {
		split(t->right, key, &t->right, ret_right);
		*ret_left = t;
		refresh(t);
	} else {
		split(t->left, key, ret_left, &t->left);
		*ret_right = t;
		refresh(t);
	}
}

/* All of @a is before all of @b. */
static struct cfs_lock *merge(struct cfs_lock *a, struct cfs_lock *b)
{
	if (!a || !b)
		return a ? a : b;
	if (a->priority > b->priority) {
		a->right = merge(a->right, b);
		refresh(a);
		return a;
	}
	b->left = merge(a, b->left);
	refresh(b);
	return b;
}

struct cfs_lock *cfs_lock_ranges_add(struct cfs_lock *root,
				     struct cfs_lock *lock)
{
	if (!root || lock->priority > root->priority) {
		split(root, lock, &lock->left, &lock->right);
		refresh(lock);
		return lock;
	}
	if (is_before(lock, root))
		root->left = cfs_lock_ranges_add(root->left, lock);
	else
		root->right = cfs_lock_ranges_add(root->right, lock);
	refresh(root);
	return root;
}

struct cfs_lock *cfs_lock_ranges_del(struct cfs_lock *root,
				     struct cfs_lock *lock)
{
	if (!root)
		return NULL;
	if (root == lock) {
		root = merge(lock->left, lock->right);
		lock->left = NULL;
		lock->right = NULL;
		return root;
	}
	if (is_before(lock, root))
		root->left = cfs_lock_ranges_del(root->left, lock);
	else
		root->right = cfs_lock_ranges_del(root->right, lock);
	refresh(root);
	return root;
}

bool cfs_lock_ranges_each(struct cfs_lock *root, uint64_t first, uint64_t last,
			  cfs_lock_range_fn fn, void *arg)
{
	if (!root || root->max_last_byte < first)
		return true;
	if (!cfs_lock_ranges_each(root->left, first, last, fn, arg))
		return false;
	if (root->first_byte > last)
		return true;
	if (root->last_byte >= first && !fn(arg, root))
		return false;
	return cfs_lock_ranges_each(root->right, first, last, fn, arg);
}
