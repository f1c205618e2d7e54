/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the verbs of cfsck-heal share. */
#include "cfsck-heal/cfsck.h"

int cfsck_open(struct cfs_cmd *cmd, const char *pool, bool is_writable,
	       struct cfs_session **ret)
{
	struct cfs_session_options opt = { .is_writable = is_writable,
					   CFS_CMD_SESSION(cmd) };
	int r;

	opt.ignores_damage = true;
	r = cfs_session_open(pool, &opt, ret, &cmd->err);
	return cfs_cmd_wrap(cmd, pool, r);
}

int cfsck_close(struct cfs_cmd *cmd, const char *pool, struct cfs_session **s,
		int r)
{
	struct cfs_err err = CFS_ERR_INIT;
	int r2 = cfs_session_close(*s, &err);

	*s = NULL;
	if (r2 == 0 || r < 0)
		return r;
	cmd->err = err;
	return cfs_cmd_wrap(cmd, pool, r2);
}

int cfsck_find(struct cfs_cmd *cmd, struct cfs_session *s,
	       const char *container)
{
	struct cfs_volume_info info;
	int r = 0;

	if (container)
		r = cfs_session_volume(s, container, &info, &cmd->err);
	/* One that is too damaged to tell its size is what we came for. */
	return r == -EUCLEAN ? 0 : r;
}

struct cfs_table *cfsck_damage_table(struct cfs_cmd *cmd)
{
	return cfs_table_new(cmd, "KIND|DEVICE|>AT|VOLUME|PATH|>OFFSET|"
				  ">LENGTH|SNAPSHOTS|STATE");
}

static void put_row(struct cfs_table *t, const struct cfs_damage *d)
{
	char list[160] = "";
	size_t i, used = 0;

	for (i = 0; i < d->snapshot_count && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used,
					 "%s@%s", i ? " " : "",
					 d->snapshots[i]);
	if (used >= sizeof(list))
		(void)snprintf(list, sizeof(list), "%zu snapshots",
			       d->snapshot_count);
	cfs_table_str(t, d->kind);
	cfs_table_str(t, d->device);
	cfs_table_u64(t, d->device_offset_bytes);
	cfs_table_str(t, d->volume[0] ? d->volume : d->container);
	cfs_table_str(t, d->has_path ? d->path : NULL);
	cfs_table_u64(t, d->offset_bytes);
	cfs_table_u64(t, d->length_bytes);
	cfs_table_str(t, list);
	cfs_table_str(t, d->is_healed ? "healed" : d->cause);
	if (d->is_healed || d->cause[0])
		cfs_table_color(t,
				d->is_healed ? CFS_COLOR_GOOD : CFS_COLOR_BAD);
}

void cfsck_put_damage(struct cfs_cmd *cmd, struct cfs_table *table,
		      const struct cfs_damage *d)
{
	struct cfs_out *out = cmd->out;
	size_t i;

	put_row(table, d);
	cfs_out_begin_obj(out, NULL);
	cfs_out_str(out, "kind", d->kind);
	cfs_out_str(out, "cause", d->cause[0] ? d->cause : NULL);
	cfs_out_str(out, "device", d->device);
	cfs_out_u64(out, "device_index", d->device_index);
	cfs_out_u64(out, "device_offset_bytes", d->device_offset_bytes);
	cfs_out_str(out, "container", d->container[0] ? d->container : NULL);
	cfs_out_str(out, "volume", d->volume[0] ? d->volume : NULL);
	cfs_out_str(out, "path", d->has_path ? d->path : NULL);
	cfs_out_u64(out, "offset_bytes", d->offset_bytes);
	cfs_out_u64(out, "length_bytes", d->length_bytes);
	cfs_out_begin_array(out, "snapshots");
	for (i = 0; i < d->snapshot_count; i++)
		cfs_out_str(out, NULL, d->snapshots[i]);
	cfs_out_end(out);
	cfs_out_bool(out, "is_healed", d->is_healed);
	cfs_out_end(out);
}
