import { FakeServer } from '../support/fake-server.js'
import { conversationSuite, gapSuite } from '../support/suite.js'

conversationSuite('the fake server', () => FakeServer.start())
gapSuite('the fake server', () => FakeServer.start({ resumeEvents: 20 }))
