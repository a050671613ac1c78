import type { Language } from '../situations.ts';

const hello = 'Hello <$user_name$>,';
const goodbye = '<$company_name$>\nThis message was sent automatically.';
const notMe =
  'Was this not you? Tell your administrator at once.\n' +
  'Or report it yourself, once, with this link: <$not_me_link$>';
const portal = 'Your settings: <$link$>';

const toUser = (text: string) => `${hello}\n\n${text}\n\n${goodbye}`;
const toAdministrators = (text: string) => `${text}\n\nLook here: <$link$>\n\n${goodbye}`;

export const language: Language = {
  code: 'en',
  name: 'English',
  locale: 'en-GB',
  texts: {
    oneTimeCode:
      '<$company_name$>: your code for <$application_name$> is <$code$>. ' +
      'It is valid for <$expiry_minutes$> minutes.',
    oneTimeCodeAndPin:
      '<$company_name$>: your code for <$application_name$> is <$code$>. ' +
      'Type it followed by your PIN, within <$expiry_minutes$> minutes.',
    replyWithCode:
      '<$company_name$>: to sign in to <$application_name$>, ' +
      'reply with <$code$> within <$expiry_minutes$> minutes.',
    replyWithCodeAndPin:
      '<$company_name$>: to sign in to <$application_name$>, ' +
      'reply with <$code$> followed by your PIN within <$expiry_minutes$> minutes.',
    phoneReplaced:
      '<$company_name$>: tomorrow your phone becomes the number ending in <$phone_ending$>. ' +
      'Not you? Tell your help desk now.',
  },
  mails: {
    phonesImported: {
      subject: 'Two-step verification at <$company_name$>',
      body: toUser(
        'From now on you confirm that it is you when you sign in, with your phone. ' +
          'We use the number that ends in <$phone_ending$>.\n\n' +
          'Is that not your number? Then tell your administrator before you sign in.\n' +
          portal,
      ),
    },
    completeEnrolment: {
      subject: 'Please set up two-step verification',
      body: toUser(
        'Your account needs two-step verification before you can sign in.\n\n' +
          'Set it up here, before <$expires$>:\n<$link$>\n\n' +
          'Your enrolment code, which works once: <$enrolment_code$>\n\n' +
          'Do not pass this message on: whoever has it could set up your account.',
      ),
    },
    enrolmentCode: {
      subject: 'Your enrolment code for two-step verification',
      body: toUser(
        'Your enrolment code is <$enrolment_code$>\n\n' +
          'It works once, and until <$expires$>.\n' +
          'Use it here: <$link$>\n\n' +
          'Nobody from <$company_name$> will ever ask you for it.',
      ),
    },
    enrolledForCall: {
      subject: 'You verify by phone call from now on',
      body: toUser(
        'When you sign in, your phone rings (the number that ends in <$phone_ending$>). ' +
          'Answer and press #.\n\n' +
          'A call that you did not expect? Hang up, and tell your administrator.\n' +
          portal,
      ),
    },
    enrolledForText: {
      subject: 'You verify by text message from now on',
      body: toUser(
        'When you sign in, a text message with a code comes to the number that ends in ' +
          '<$phone_ending$>. Type that code.\n\n' +
          'A code that you did not ask for? Give it to nobody, and tell your administrator.\n' +
          portal,
      ),
    },
    enrolledForApp: {
      subject: 'You verify with the app from now on',
      body: toUser(
        'When you sign in, the app on your phone asks you to approve.\n\n' +
          'A question that you did not expect? Deny it, and tell your administrator.\n' +
          portal,
      ),
    },
    enrolledForToken: {
      subject: 'You verify with a code from now on',
      body: toUser(
        'When you sign in, type the code that your token or authenticator app shows.\n' +
          'It is called: <$authenticator_name$>\n\n' +
          'Give such a code to nobody, whoever asks.\n' +
          portal,
      ),
    },
    initialPin: {
      subject: 'Your PIN for two-step verification',
      body: toUser(
        'Your first PIN is <$pin$>\n\n' +
          'You choose another one when you first use it. Delete this message after that.\n' +
          portal,
      ),
    },
    authenticatorAdded: {
      subject: 'An authenticator was added to your account',
      body: toUser(
        'An authenticator was added to your account on <$when$>.\n' +
          'Its name: <$authenticator_name$>\nIts method: <$method_name$>\n\n' +
          notMe,
      ),
    },
    authenticatorRemoved: {
      subject: 'An authenticator was removed from your account',
      body: toUser(
        'An authenticator was removed from your account on <$when$>.\n' +
          'Its name: <$authenticator_name$>\nIts method: <$method_name$>\n\n' +
          notMe,
      ),
    },
    phoneChanged: {
      subject: 'The phone number of your account was changed',
      body: toUser(
        'The phone number of your account was changed on <$when$>.\n' +
          'The new one ends in <$phone_ending$>.\n\n' +
          notMe,
      ),
    },
    pinChanged: {
      subject: 'The PIN of your account was changed',
      body: toUser(`The PIN of your account was changed on <$when$>.\n\n${notMe}`),
    },
    methodChanged: {
      subject: 'The way you verify was changed',
      body: toUser(
        'The way you verify when you sign in was changed on <$when$>.\n' +
          'The new method: <$method_name$>\n\n' +
          notMe,
      ),
    },
    fraudReported: {
      subject: 'Fraud reported by <$user_name$>',
      body: toAdministrators(
        '<$user_name$> was asked to verify a sign-in that was not theirs, and reported it on ' +
          '<$when$>.\n\n' +
          'Method: <$method_name$>\nApplication: <$application_name$>\nNode: <$server_name$>\n\n' +
          'Somebody may know the password of this account.',
      ),
    },
    userLockedOut: {
      subject: 'Locked out: <$user_name$>',
      body: toAdministrators(
        '<$user_name$> was locked out on <$when$>.\n\n' +
          'Reason: <$reason$>\nApplication: <$application_name$>\nNode: <$server_name$>',
      ),
    },
    administratorRecovered: {
      subject: 'An owner was invited at the machine: <$user_name$>',
      body: toAdministrators(
        'On <$when$> somebody at the machine of <$server_name$> invited <$user_name$> as an owner, ' +
          'who may do everything once the invitation is accepted.\n\n' +
          'If nobody of you meant that, remove <$user_name$> and find out who was at that machine.',
      ),
    },
    approvalNeeded: {
      subject: 'Approval needed: <$count$> users of <$directory_name$>',
      body: toAdministrators(
        'The synchronisation with <$directory_name$> of <$when$> would disable or remove ' +
          '<$count$> users, more than the <$limit$> it may by itself.\n\n' +
          'Nothing was changed. Look at the list and approve or refuse it.',
      ),
    },
    textBudgetAlarm: {
      subject: 'Many text messages: <$budget_name$>',
      body: toAdministrators(
        'The budget of text messages for <$budget_name$>, <$limit$> an hour, was reached or is ' +
          'nearly used up (<$when$>).\nNode: <$server_name$>\n\n' +
          'Texts beyond it are refused. If nothing explains this many sign-ins, somebody may be ' +
          'making money with your texts.',
      ),
    },
    testMail: {
      subject: 'Test of the mail settings',
      body: `This mail shows that <$company_name$> can send mail (<$when$>).\nNode: <$server_name$>`,
    },
  },
};
