/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/clock.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;
	int r = clock_gettime(id, &ts);

	assert(r == 0); /* both clocks exist since Linux 2.6.39 */
	(void)r;
	return (uint64_t)ts.tv_sec * CFS_NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t system_elapsed_ns(struct cfs_clock *clock)
{
	(void)clock;
	return read_clock(CLOCK_BOOTTIME);
}

static uint64_t system_realtime_ns(struct cfs_clock *clock)
{
	(void)clock;
	return read_clock(CLOCK_REALTIME);
}

static void system_sleep_until(struct cfs_clock *clock, uint64_t deadline_ns)
{
	struct timespec ts = {
		.tv_sec = (time_t)(deadline_ns / CFS_NS_PER_S),
		.tv_nsec = (long)(deadline_ns % CFS_NS_PER_S),
	};

	(void)clock;
	clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &ts, NULL);
}

struct cfs_clock *cfs_clock_system(void)
{
	static const struct cfs_clock_ops ops = {
		.elapsed_ns = system_elapsed_ns,
		.realtime_ns = system_realtime_ns,
		.sleep_until = system_sleep_until,
	};
	static struct cfs_clock clock = { .ops = &ops };

	return &clock;
}

static uint64_t manual_elapsed_ns(struct cfs_clock *clock)
{
	return ((struct cfs_clock_manual *)clock)->elapsed_ns;
}

static uint64_t manual_realtime_ns(struct cfs_clock *clock)
{
	return ((struct cfs_clock_manual *)clock)->realtime_ns;
}

static void manual_sleep_until(struct cfs_clock *clock, uint64_t deadline_ns)
{
	struct cfs_clock_manual *manual = (struct cfs_clock_manual *)clock;

	if (deadline_ns > manual->elapsed_ns)
		cfs_clock_manual_advance(manual,
					 deadline_ns - manual->elapsed_ns);
}

void cfs_clock_manual_init(struct cfs_clock_manual *manual, uint64_t elapsed_ns,
			   uint64_t realtime_ns)
{
	static const struct cfs_clock_ops ops = {
		.elapsed_ns = manual_elapsed_ns,
		.realtime_ns = manual_realtime_ns,
		.sleep_until = manual_sleep_until,
	};

	manual->clock.ops = &ops;
	manual->elapsed_ns = elapsed_ns;
	manual->realtime_ns = realtime_ns;
}

void cfs_clock_manual_advance(struct cfs_clock_manual *manual, uint64_t ns)
{
	manual->elapsed_ns += ns;
	manual->realtime_ns += ns;
}

/* Euclid's division: the remainder is never negative. */
static int64_t floor_div(int64_t v, int64_t by)
{
	return v / by - (v % by < 0);
}

struct date {
	int64_t year;
	unsigned int month, day; /* from 1 */
};

/*
 * Days since 1970 to a date of the Gregorian calendar.  Counted from the
 * first of March, so that the leap day is the last of its year, and in spans
 * of 400 years, which all have 146097 days.
 */
static struct date date_of_days(int64_t days)
{
	static const unsigned int before[12] = { 0,   31,  61,  92,  122, 153,
						 184, 214, 245, 275, 306, 337 };
	int64_t from_march = days + 719468; /* since 0000-03-01 */
	int64_t span = floor_div(from_march, 146097);
	unsigned int left = (unsigned int)(from_march - span * 146097);
	unsigned int century, four, year, month = 11;
	struct date date;

	century = left / 36524 < 3 ? left / 36524 : 3;
	left -= century * 36524;
	four = left / 1461;
	left -= four * 1461;
	year = left / 365 < 3 ? left / 365 : 3;
	left -= year * 365;
	while (before[month] > left)
		month--;
	date.day = left - before[month] + 1;
	date.month = month < 10 ? month + 3 : month - 9;
	date.year = span * 400 + century * 100 + four * 4 + year +
		    (month >= 10);
	return date;
}

char *cfs_time_format(int64_t seconds, uint32_t ns,
		      char ret[CFS_TIME_TEXT_BYTES])
{
	int64_t days = floor_div(seconds, 86400);
	unsigned int left = (unsigned int)(seconds - days * 86400);
	struct date date = date_of_days(days);
	const char *sign = "";
	uint64_t year = (uint64_t)date.year;

	if (date.year < 0) {
		sign = "-";
		year = 0 - year;
	} else if (date.year > 9999) {
		sign = "+";
	}
	if (ns >= CFS_NS_PER_S)
		ns = CFS_NS_PER_S - 1;
	snprintf(ret, CFS_TIME_TEXT_BYTES,
		 "%s%04" PRIu64 "-%02u-%02uT%02u:%02u:%02u.%09" PRIu32 "Z",
		 sign, year, date.month, date.day, left / 3600, left / 60 % 60,
		 left % 60, ns);
	return ret;
}

char *cfs_time_format_ns(uint64_t realtime_ns, char ret[CFS_TIME_TEXT_BYTES])
{
	return cfs_time_format((int64_t)(realtime_ns / CFS_NS_PER_S),
			       (uint32_t)(realtime_ns % CFS_NS_PER_S), ret);
}
