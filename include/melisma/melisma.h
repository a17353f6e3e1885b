// Everything.
#pragma once

#include "melisma/causal_conv1d.h"
#include "melisma/error.h"
#include "melisma/filter_bank.h"
#include "melisma/filtered_spectrogram.h"
#include "melisma/frames.h"
#include "melisma/index_tensor.h"
#include "melisma/istft.h"
#include "melisma/queue.h"
#include "melisma/runtime.h"
#include "melisma/spectrogram.h"
#include "melisma/stft.h"
#include "melisma/tensor.h"
#include "melisma/window.h"
