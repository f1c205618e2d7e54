/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session/tree_passes.h"

#include "base/err.h"
#include "base/hash.h"
#include "session/tree_locks.h"
#include "tree/hooks.h"
#include "volume/map.h"

#include <stdlib.h>

#define PASSES_MAX (UINT32_C(1) << 16)

struct pass_key {
	uint64_t container, volume, ino;
};

struct pass {
	UT_hash_handle hh;
	struct pass_key key;
	uint64_t writer; /* has X, or had it last; 0: nobody new */
	uint64_t only;   /* all grants were of this client; 0: no */
	uint64_t generation;
};

struct cfs_tree_passes {
	struct pass *passes;
	bool knows_all;
};

int cfs_tree_passes_new(bool knows_all, struct cfs_tree_passes **ret,
			struct cfs_err *err)
{
	struct cfs_tree_passes *p = calloc(1, sizeof(*p));

	if (!p)
		return cfs_err_set(err, -ENOMEM, "out of memory");
	p->knows_all = knows_all;
	*ret = p;
	return 0;
}

static void forget(struct cfs_tree_passes *p)
{
	struct pass *pass, *tmp;

	HASH_ITER(hh, p->passes, pass, tmp) {
		HASH_DEL(p->passes, pass);
		free(pass);
	}
	p->knows_all = false;
}

void cfs_tree_passes_forget(struct cfs_tree_passes *p, uint64_t container)
{
	struct pass *pass, *tmp;

	HASH_ITER(hh, p->passes, pass, tmp) {
		if (pass->key.container != container)
			continue;
		HASH_DEL(p->passes, pass);
		free(pass);
	}
	p->knows_all = false;
}

void cfs_tree_passes_free(struct cfs_tree_passes *p)
{
	if (!p)
		return;
	forget(p);
	free(p);
}

static struct pass *find(const struct cfs_tree_passes *p,
			 const struct cfs_lock_resource *r)
{
	const struct pass_key key = { r->container, r->volume, r->ino };
	struct pass *pass;

	/* The analyzer does not follow a key of several words, read by bytes.
	 * NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
	HASH_FIND(hh, p->passes, &key, sizeof(key), pass);
	return pass;
}

static struct pass *add(struct cfs_tree_passes *p, uint64_t client,
			const struct cfs_lock_resource *r, uint64_t root_seq)
{
	struct pass *pass;

	if (HASH_COUNT(p->passes) >= PASSES_MAX)
		forget(p);
	pass = calloc(1, sizeof(*pass));
	if (!pass)
		return NULL;
	pass->key = (struct pass_key){ r->container, r->volume, r->ino };
	pass->only = p->knows_all ? client : 0;
	pass->generation = p->knows_all ? 0 : root_seq;
	if (CFS_HASH_ADD(p->passes, key, pass) < 0) {
		free(pass);
		return NULL;
	}
	return pass;
}

uint64_t cfs_tree_passes_granted(struct cfs_tree_passes *p, uint64_t client,
				 const struct cfs_lock_resource *resource,
				 uint32_t mode, uint64_t root_seq)
{
	struct pass *pass = find(p, resource);

	if (!pass)
		pass = add(p, client, resource, root_seq);
	if (!pass) {
		p->knows_all = false;
		return root_seq;
	}
	if (pass->writer && pass->writer != client) {
		pass->generation = root_seq;
		pass->writer = 0;
	}
	if (mode == CFS_LOCK_X)
		pass->writer = client;
	if (pass->only != client)
		pass->only = 0;
	return pass->generation;
}

bool cfs_tree_passes_has_other(const struct cfs_tree_passes *p, uint64_t client,
			       const struct cfs_lock_resource *resource)
{
	const struct pass *pass = find(p, resource);

	return pass && pass->only != client;
}

/* ---- what a client gives back -------------------------------------------- */

struct cfs_tree_judged {
	UT_hash_handle hh;
	uint64_t ino;
	bool may;
};

static bool exists(const struct cfs_tree_rules *rules, uint16_t branch,
		   uint64_t ino)
{
	const struct cfs_view head = {
		rules->container,
		branch,
		CFS_STAMP_HEAD,
	};
	size_t bytes;

	return cfs_map_get(&head, ino, CFS_MAP_INODE, 0, NULL, 0, &bytes,
			   NULL) != -ENOENT;
}

static bool holds(const struct cfs_tree_rules *rules, uint64_t ino)
{
	const struct cfs_lock_resource res = {
		.container = rules->container_id,
		.volume = rules->volume,
		.ino = ino,
		.length_bytes = CFS_LOCK_LENGTH_WHOLE,
	};

	return cfs_owner_holds(rules->owner, rules->client, &res, CFS_LOCK_X) ==
	       0;
}

static bool judge(const struct cfs_tree_rules *rules, uint16_t branch,
		  uint64_t ino)
{
	const struct cfs_lock_resource res = {
		.container = rules->container_id,
		.volume = rules->volume,
		.ino = ino,
		.length_bytes = CFS_LOCK_LENGTH_WHOLE,
	};

	if (ino > CFS_INO_MAX)
		return false;
	if (cfs_container_lends_ino(rules->container, ino) &&
	    (!cfs_tree_passes_has_other(rules->passes, rules->client, &res) ||
	     !exists(rules, branch, ino)))
		return true;
	return holds(rules, CFS_TREE_LOCK_ALL) || holds(rules, ino);
}

bool cfs_tree_rules_may(struct cfs_tree_rules *rules, uint16_t branch,
			uint64_t ino)
{
	struct cfs_tree_judged *j;
	bool may;

	HASH_FIND(hh, rules->judged, &ino, sizeof(ino), j);
	if (j)
		return j->may;
	j = calloc(1, sizeof(*j));
	if (!j)
		return judge(rules, branch, ino);
	/* As it was before the fold: what makes it comes first. */
	j->ino = ino;
	j->may = may = judge(rules, branch, ino);
	if (CFS_HASH_ADD(rules->judged, ino, j) < 0)
		free(j);
	return may;
}

void cfs_tree_rules_donep(struct cfs_tree_rules *rules)
{
	struct cfs_tree_judged *j, *tmp;

	HASH_ITER(hh, rules->judged, j, tmp) {
		HASH_DEL(rules->judged, j);
		free(j);
	}
}
