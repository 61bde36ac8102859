import { RealServer } from '../support/real-server.js'
import { conversationSuite, gapSuite } from '../support/suite.js'

conversationSuite('parlance serve', () =>
  RealServer.start({ PARLANCE_DRAIN__WINDOW: '1s', PARLANCE_DRAIN__GRACE: '1s' }),
)
gapSuite('parlance serve', () =>
  RealServer.start({
    PARLANCE_LIMITS__RESUME_EVENTS: '20',
    PARLANCE_LIMITS__ACTIONS_PER_SECOND: '0',
    PARLANCE_LIMITS__USER_ACTIONS_PER_SECOND: '0',
  }),
)
