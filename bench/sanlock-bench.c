/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A lease of sanlock, taken and given back by its library, in a process that
 * stays registered.
 *
 *   sanlock-bench LOCKSPACE RESOURCE FILE COUNT	one line: microseconds
 */
#include "measure.h"

#include <sanlock.h>
#include <sanlock_admin.h>
#include <sanlock_resource.h>

int main(int argc, char **argv)
{
	struct {
		struct sanlk_resource r;
		struct sanlk_disk disk;
	} one = { .r.num_disks = 1 };
	struct sanlk_resource *all[] = { &one.r };
	uint64_t count = argc == 5 ? parse_count(argv[4]) : 0, begin = 0;
	int sock, r = 0;

	if (!count) {
		fprintf(stderr, "usage: sanlock-bench LOCKSPACE RESOURCE FILE "
				"COUNT\n");
		return 2;
	}
	snprintf(one.r.lockspace_name, SANLK_NAME_LEN, "%s", argv[1]);
	snprintf(one.r.name, SANLK_NAME_LEN, "%s", argv[2]);
	snprintf(one.disk.path, SANLK_PATH_LEN, "%s", argv[3]);
	sock = sanlock_register();
	/* The first one is not counted. */
	for (uint64_t i = 0; sock >= 0 && r >= 0 && i <= count; i++) {
		if (i == 1)
			begin = now_ns();
		r = sanlock_acquire(sock, -1, 0, 1, all, NULL);
		if (r >= 0)
			r = sanlock_release(sock, -1, 0, 1, all);
	}
	if (sock < 0 || r < 0) {
		fprintf(stderr, "sanlock-bench: error %d\n",
			sock < 0 ? sock : r);
		return 1;
	}
	printf("{\"lock_us\": %.2f}\n",
	       (double)(now_ns() - begin) / 1e3 / (double)count);
	return 0;
}
