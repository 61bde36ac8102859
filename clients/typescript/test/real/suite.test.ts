import { RealServer } from '../support/real-server.js'
import { conversationSuite } from '../support/suite.js'

conversationSuite('parlance serve', () =>
  RealServer.start({ PARLANCE_DRAIN__WINDOW: '1s', PARLANCE_DRAIN__GRACE: '1s' }),
)
