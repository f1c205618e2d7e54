/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define CFS_ARCHIVE_NO_MACROS
#include "session/archive_api.h"

#include <dlfcn.h>
#include <pthread.h>

#define LIBRARY "libarchive.so.13"

struct cfs_archive_api cfs_archive_api;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct cfs_err load_error;

/* Never unloaded: other threads may be in it. */
static void load(void)
{
	void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		cfs_err_set(&load_error, -ENOTSUP,
			    "archives need " LIBRARY ": %s", dlerror());
		return;
	}
#define X(name)                                                                \
	*(void **)(void *)&cfs_archive_api.name##_ = dlsym(library, #name);    \
	if (!cfs_archive_api.name##_)                                          \
		cfs_err_set(&load_error, -ENOTSUP, LIBRARY " has no " #name);
	CFS_ARCHIVE_FUNCTIONS(X)
#undef X
}

int cfs_archive_load(struct cfs_err *err)
{
	pthread_once(&once, load);
	if (load_error.code && err)
		*err = load_error;
	return load_error.code;
}
