// Commonhold: objects that processes hold in common. This header brings all of it; manager.h is the place to start.
#pragma once

#include <commonhold/any.h>
#include <commonhold/array.h>
#include <commonhold/attach.h>
#include <commonhold/codec.h>
#include <commonhold/custom.h>
#include <commonhold/dict.h>
#include <commonhold/errors.h>
#include <commonhold/list.h>
#include <commonhold/lock.h>
#include <commonhold/manager.h>
#include <commonhold/name_space.h>
#include <commonhold/process.h>
#include <commonhold/set.h>
#include <commonhold/type.h>
#include <commonhold/value.h>
#include <commonhold/version.h>
