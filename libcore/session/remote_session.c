/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* session.h one for one, but snapshots and data: see remote.h. */
#include "session/remote.h"

#include "base/cleanup.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * The C functions of callers take a pointer to their own struct; the table
 * has made exactly that of the item.
 */
#define ITEM(name, fn_type, type)                                              \
	struct name {                                                          \
		fn_type each;                                                  \
		void *arg;                                                     \
	};                                                                     \
	static int name##_item(void *arg, const void *item)                    \
	{                                                                      \
		const struct name *to = arg;                                   \
		return to->each(to->arg, (const type *)item);                  \
	}                                                                      \
	struct name

ITEM(to_device, cfs_device_each_fn, struct cfs_device_info);
ITEM(to_slice, cfs_slice_each_fn, struct cfs_slice_info);
ITEM(to_volume, cfs_volume_each_fn, struct cfs_volume_info);
ITEM(to_problem, cfs_problem_each_fn, struct cfs_problem);
ITEM(to_damage, cfs_damage_each_fn, struct cfs_damage);

/* ---- pools --------------------------------------------------------------- */

int cfs_remote_pool_info(struct cfs_remote *r, struct cfs_pool_info *ret,
			 struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = NULL };

	return cfs_remote_ask(r, CFS_RPC_POOL_INFO, &args, ret, err);
}

int cfs_remote_devices(struct cfs_remote *r, cfs_device_each_fn each, void *arg,
		       struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = NULL };
	struct to_device to = { each, arg };
	struct cfs_remote_call call = {
		.type = CFS_RPC_DEVICES,
		.args = &args,
		.item = to_device_item,
		.item_arg = &to,
	};

	return cfs_remote_call(r, &call, err);
}

int cfs_remote_set(struct cfs_remote *r, const char *volume, const char *key,
		   const char *value, struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.volume = volume,
		.name = key,
		.text = value,
	};

	return cfs_remote_ask(r, CFS_RPC_SET, &args, NULL, err);
}

/*
 * The holder has a working directory of its own: paths of this host go to it
 * from the root.  @ret: PATH_MAX bytes; a UUID, a URI, or what does not fit,
 * as it is.
 */
static const char *whole_path(const char *path, char *ret)
{
	if (path[0] == '/' || strchr(path, ':') || access(path, F_OK) != 0 ||
	    !realpath(path, ret))
		return path;
	return ret;
}

/* Messages name the device as the caller did. */
static int as_called(int r, const char *path, const char *whole,
		     struct cfs_err *err)
{
	const size_t bytes = strlen(whole);
	char rest[CFS_ERR_BYTES];

	if (r >= 0 || !err || path == whole ||
	    strncmp(err->msg, whole, bytes) != 0)
		return r;
	strcpy(rest, err->msg + bytes);
	return cfs_err_set(err, r, "%s%s", path, rest);
}

int cfs_remote_add_device(struct cfs_remote *r, const char *path,
			  bool is_forced, uint64_t *ret_slices,
			  struct cfs_err *err)
{
	char buf[PATH_MAX];
	const char *whole = whole_path(path, buf);
	const struct cfs_rpc_args args = { .name = whole, .is_set = is_forced };
	struct cfs_rpc_values ret = { 0 };
	int code = cfs_remote_ask(r, CFS_RPC_ADD_DEVICE, &args, &ret, err);

	if (code == 0)
		*ret_slices = ret.value;
	return as_called(code, path, whole, err);
}

int cfs_remote_resize_device(struct cfs_remote *r, const char *device,
			     uint64_t *ret_old_slices, uint64_t *ret_new_slices,
			     struct cfs_err *err)
{
	char buf[PATH_MAX];
	const char *whole = whole_path(device, buf);
	const struct cfs_rpc_args args = { .name = whole };
	struct cfs_rpc_values ret = { 0 };
	int code = cfs_remote_ask(r, CFS_RPC_RESIZE_DEVICE, &args, &ret, err);

	*ret_old_slices = ret.value;
	*ret_new_slices = ret.other;
	return as_called(code, device, whole, err);
}

static uint32_t move_flags(bool is_forced, bool in_background)
{
	return (is_forced ? CFS_RPC_MOVE_FORCED : 0) |
	       (in_background ? CFS_RPC_MOVE_BACKGROUND : 0);
}

int cfs_remote_evacuate(struct cfs_remote *r, const char *device,
			bool in_background, struct cfs_move_result *ret,
			struct cfs_err *err)
{
	char buf[PATH_MAX];
	const char *whole = whole_path(device, buf);
	const struct cfs_rpc_args args = {
		.name = whole,
		.flags = move_flags(false, in_background),
	};

	memset(ret, 0, sizeof(*ret));
	return as_called(cfs_remote_ask(r, CFS_RPC_EVACUATE, &args, ret, err),
			 device, whole, err);
}

int cfs_remote_remove_device(struct cfs_remote *r, const char *device,
			     bool is_forced, struct cfs_err *err)
{
	char buf[PATH_MAX];
	const char *whole = whole_path(device, buf);
	const struct cfs_rpc_args args = {
		.name = whole,
		.flags = move_flags(is_forced, false),
	};

	return as_called(
		cfs_remote_ask(r, CFS_RPC_REMOVE_DEVICE, &args, NULL, err),
		device, whole, err);
}

int cfs_remote_replace_device(struct cfs_remote *r, const char *old,
			      const char *path, bool is_forced,
			      bool in_background, struct cfs_move_result *ret,
			      struct cfs_err *err)
{
	char buf[PATH_MAX], new_buf[PATH_MAX];
	const char *whole = whole_path(old, buf);
	const char *new_whole = whole_path(path, new_buf);
	const struct cfs_rpc_args args = {
		.name = whole,
		.text = new_whole,
		.flags = move_flags(is_forced, in_background),
	};
	int code;

	memset(ret, 0, sizeof(*ret));
	code = cfs_remote_ask(r, CFS_RPC_REPLACE_DEVICE, &args, ret, err);
	code = as_called(code, old, whole, err);
	return as_called(code, path, new_whole, err);
}

int cfs_remote_make_mirror(struct cfs_remote *r, struct cfs_move_result *ret,
			   struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = NULL };

	memset(ret, 0, sizeof(*ret));
	return cfs_remote_ask(r, CFS_RPC_MAKE_MIRROR, &args, ret, err);
}

int cfs_remote_trim(struct cfs_remote *r, const char *container,
		    struct cfs_trim_result *ret, struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = container };

	memset(ret, 0, sizeof(*ret));
	return cfs_remote_ask(r, CFS_RPC_TRIM, &args, ret, err);
}

int cfs_remote_slices(struct cfs_remote *r, const char *container,
		      cfs_slice_each_fn each, void *arg, struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = container };
	struct to_slice to = { each, arg };
	struct cfs_remote_call call = {
		.type = CFS_RPC_SLICES,
		.args = &args,
		.item = to_slice_item,
		.item_arg = &to,
	};

	return cfs_remote_call(r, &call, err);
}

/* ---- volumes ------------------------------------------------------------- */

int cfs_remote_volumes(struct cfs_remote *r, const char *container,
		       bool with_space, cfs_volume_each_fn each, void *arg,
		       struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = container };
	struct to_volume to = { each, arg };
	struct cfs_remote_call call = {
		.type = with_space ? CFS_RPC_VOLUMES : CFS_RPC_VOLUMES_BRIEF,
		.args = &args,
		.item = to_volume_item,
		.item_arg = &to,
	};

	return cfs_remote_call(r, &call, err);
}

int cfs_remote_volume(struct cfs_remote *r, const char *volume, bool with_space,
		      struct cfs_volume_info *ret, struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = volume };

	return cfs_remote_ask(
		r, with_space ? CFS_RPC_VOLUME : CFS_RPC_VOLUME_BRIEF, &args,
		ret, err);
}

int cfs_remote_create(struct cfs_remote *r, const char *name, uint32_t kind,
		      uint64_t size_bytes, uint64_t limit_bytes,
		      bool is_unfinished, struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.name = name,
		.kind = kind,
		.size_bytes = size_bytes,
		.limit_bytes = limit_bytes,
		.is_set = is_unfinished,
	};

	return cfs_remote_ask(r, CFS_RPC_CREATE, &args, NULL, err);
}

int cfs_remote_place_find(struct cfs_remote *r, const char *volume,
			  const char *path, struct cfs_volume_place *ret,
			  struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = volume, .text = path };

	return cfs_remote_ask(r, CFS_RPC_PLACE_FIND, &args, ret, err);
}

int cfs_remote_place_name(struct cfs_remote *r,
			  const struct cfs_volume_place *place,
			  struct cfs_place_name *ret, struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .place = *place };

	return cfs_remote_ask(r, CFS_RPC_PLACE_NAME, &args, ret, err);
}

int cfs_remote_finish_volume(struct cfs_remote *r, const char *name,
			     struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .name = name };

	return cfs_remote_ask(r, CFS_RPC_FINISH_VOLUME, &args, NULL, err);
}

int cfs_remote_remove_volume(struct cfs_remote *r, const char *volume,
			     bool recursive, struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.volume = volume,
		.is_set = recursive,
	};

	return cfs_remote_ask(r, CFS_RPC_REMOVE_VOLUME, &args, NULL, err);
}

int cfs_remote_rename_volume(struct cfs_remote *r, const char *volume,
			     const char *new_name, struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.volume = volume,
		.name = new_name,
	};

	return cfs_remote_ask(r, CFS_RPC_RENAME_VOLUME, &args, NULL, err);
}

int cfs_remote_resize_volume(struct cfs_remote *r, const char *volume,
			     uint64_t size_bytes, struct cfs_err *err)
{
	const struct cfs_rpc_args args = {
		.volume = volume,
		.size_bytes = size_bytes,
	};

	return cfs_remote_ask(r, CFS_RPC_RESIZE_VOLUME, &args, NULL, err);
}

/* ---- check, scrub, trace ------------------------------------------------- */

int cfs_remote_check(struct cfs_remote *r, const char *container,
		     cfs_problem_each_fn each, void *arg,
		     struct cfs_check_result *ret, struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = container };
	struct to_problem to = { each, arg };
	struct cfs_remote_call call = {
		.type = CFS_RPC_CHECK,
		.args = &args,
		.ret = ret,
		.item = to_problem_item,
		.item_arg = &to,
	};

	memset(ret, 0, sizeof(*ret));
	return cfs_remote_call(r, &call, err);
}

int cfs_remote_scrub(struct cfs_remote *r, const char *container,
		     const struct cfs_scrub_options *opt,
		     cfs_damage_each_fn each, void *arg,
		     struct cfs_scrub_result *ret, struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = container, .scrub = *opt };
	struct to_damage to = { each, arg };
	struct cfs_remote_call call = {
		.type = CFS_RPC_SCRUB,
		.args = &args,
		.ret = ret,
		.item = to_damage_item,
		.item_arg = &to,
	};

	memset(ret, 0, sizeof(*ret));
	return cfs_remote_call(r, &call, err);
}

int cfs_remote_trace_at(struct cfs_remote *r, const char *device,
			uint64_t offset_bytes, cfs_damage_each_fn each,
			void *arg, struct cfs_err *err)
{
	char buf[PATH_MAX];
	const char *whole = whole_path(device, buf);
	const struct cfs_rpc_args args = {
		.name = whole,
		.offset_bytes = offset_bytes,
	};
	struct to_damage to = { each, arg };
	struct cfs_remote_call call = {
		.type = CFS_RPC_TRACE_AT,
		.args = &args,
		.item = to_damage_item,
		.item_arg = &to,
	};

	return as_called(cfs_remote_call(r, &call, err), device, whole, err);
}

int cfs_remote_trace_bad(struct cfs_remote *r, cfs_damage_each_fn each,
			 void *arg, struct cfs_err *err)
{
	const struct cfs_rpc_args args = { .volume = NULL };
	struct to_damage to = { each, arg };
	struct cfs_remote_call call = {
		.type = CFS_RPC_TRACE_BAD,
		.args = &args,
		.item = to_damage_item,
		.item_arg = &to,
	};

	return cfs_remote_call(r, &call, err);
}
