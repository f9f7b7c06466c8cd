// Commonhold: objects that processes hold in common. This header brings all of it; manager.h is the place to start.
#pragma once

#include <commonhold/array.h>
#include <commonhold/attach.h>
#include <commonhold/barrier.h>
#include <commonhold/codec.h>
#include <commonhold/condition.h>
#include <commonhold/connection.h>
#include <commonhold/current_process.h>
#include <commonhold/dict.h>
#include <commonhold/errors.h>
#include <commonhold/event.h>
#include <commonhold/fresh.h>
#include <commonhold/list.h>
#include <commonhold/listener.h>
#include <commonhold/lock.h>
#include <commonhold/manager.h>
#include <commonhold/pool.h>
#include <commonhold/process.h>
#include <commonhold/queue.h>
#include <commonhold/rlock.h>
#include <commonhold/rwlock.h>
#include <commonhold/semaphore.h>
#include <commonhold/value.h>
#include <commonhold/version.h>
#include <commonhold/wait.h>
