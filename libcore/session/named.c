/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Volumes of a pool that this session holds, by their names. */
#include "session/session_priv.h"

#include <stdio.h>
#include <string.h>

int cfs_session_find(struct cfs_session *s, const char *volume,
		     struct cfs_named *ret, struct cfs_err *err)
{
	const char *slash = strchr(volume, '/');
	char name[CFS_NAME_BYTES];
	size_t length = slash ? (size_t)(slash - volume) : strlen(volume);
	int r;

	if (length == 0 || length >= sizeof(name))
		return cfs_err_set(err, -ENOENT, "no such volume");
	memcpy(name, volume, length);
	name[length] = '\0';
	r = cfs_pool_member(s->pool, name, &ret->member, err);
	if (r == 0 && !cfs_session_may_see(s, ret->member))
		r = cfs_err_set(err, -ENOENT, "no such volume");
	if (r < 0)
		return r;
	if (s->opt.is_writable && !ret->member->is_finished) {
		ret->member->is_finished = true;
		r = cfs_volumes_finish_work(ret->member, err);
		if (r < 0)
			return r;
	}
	return cfs_volume_find(ret->member, slash ? slash + 1 : NULL, &ret->id,
			       &ret->rec, err);
}

void cfs_session_name(const struct cfs_member *m,
		      const struct cfs_volume_rec *rec, char *buf)
{
	if (rec->name[0])
		snprintf(buf, 260, "%s/%s", m->rec.name, rec->name);
	else
		snprintf(buf, 260, "%s", m->rec.name);
}

int cfs_session_bad_count(struct cfs_container *c, uint64_t *ret,
			  struct cfs_err *err)
{
	struct cfs_key from = { { cfs_table_word(CFS_TABLE_BAD, 0), 0, 0 } };
	struct cfs_cursor cur;
	uint64_t n = 0;
	int r;

	cfs_container_lock(c);
	r = cfs_cursor_ge(&cur, cfs_container_tree(c, CFS_TREE_TABLE), &from,
			  err);
	while (r == 0 && cur.key.w[0] == from.w[0]) {
		n++;
		r = cfs_cursor_next(&cur, err);
	}
	cfs_container_unlock(c);
	*ret = n;
	return r == -ENOENT ? 0 : r;
}
