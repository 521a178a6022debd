// SPDX-License-Identifier: MIT
// The styles in the order in which they build on each other.
import './tokens.css'
import './base.css'
import './lobby.css'
import './room.css'
import './player.css'
import './chat.css'
import './files.css'
